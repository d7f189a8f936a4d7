package admin

import (
	"context"
	"encoding/json"
	"time"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/events"
)

// Events tells what changes; *events.Hub does.
type Events interface {
	Listen() (heard <-chan events.Event, cancel func(), err error)
}

func (c *Calls) eventRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/events", Auth: route.Admin, Name: "events", Group: "event",
			Summary: "Streams server-sent events: \"task\" with a task that changed as getTaskByPage shows it, \"observed\" when hypervisors were looked at anew, \"alive\" at the beginning and when nothing happens. It ends after some minutes: call again.",
		}, c.events),
	}
}

// alivePause is how long a stream is silent at most, so that proxies in between keep it.
const alivePause = 15 * time.Second

func (c *Calls) events(context.Context, *route.Call, route.Nothing) (route.Stream, error) {
	heard, cancel, err := c.Events.Listen()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, send route.Send) error {
		defer cancel()
		alive := time.NewTicker(alivePause)
		defer alive.Stop()
		if err := send("alive", []byte("{}")); err != nil {
			return err
		}
		for {
			name, data := "alive", []byte("{}")
			select {
			case <-ctx.Done():
				return nil
			case <-alive.C:
			case event, open := <-heard:
				if !open {
					return nil
				}
				if name = "observed"; event.Task != nil {
					name = "task"
					record, err := json.Marshal(ams.TaskOf(event.Task, true))
					if err != nil {
						return err
					}
					data = record
				}
			}
			if err := send(name, data); err != nil {
				return err
			}
		}
	}, nil
}
