package api

import (
	"errors"

	"gantry/server/broker"
)

// refusedNodes is the data of an answer to an order that no node took.
type refusedNodes struct {
	Refused []refusedNode `json:"refused"`
}

type refusedNode struct {
	NodeID   int64           `json:"nodeid"`
	NodeName string          `json:"nodeName"`
	NodeType string          `json:"nodeType"`
	Reason   broker.Reason   `json:"reason"`
	English  string          `json:"en"`
	Chinese  string          `json:"zh"`
	Figures  *refusedFigures `json:"figures,omitempty"`
}

// refusedFigures are in CPUs or bytes.
type refusedFigures struct {
	Wanted   int64 `json:"wanted"`
	Promised int64 `json:"promised"`
	Used     int64 `json:"used"`
	Capacity int64 `json:"capacity"`
}

// refusedEnvelope answers an error, with the nodes that refused an order. Figures, which tell about other tenants, are for operators.
func refusedEnvelope(err error, code int, text string, operator bool) envelope {
	answer := envelope{Code: code, Message: text}
	var known *broker.Error
	if !errors.As(err, &known) || known.Refused == nil {
		return answer
	}
	data := refusedNodes{Refused: make([]refusedNode, len(known.Refused))}
	for i := range known.Refused {
		refusal := &known.Refused[i]
		data.Refused[i] = refusedNode{
			NodeID: refusal.NodeID, NodeName: refusal.NodeName, NodeType: refusal.Kind, Reason: refusal.Reason,
			English: refusal.In(broker.English), Chinese: refusal.In(broker.Chinese),
		}
		if figures := refusal.Figures; figures != nil && operator {
			data.Refused[i].Figures = (*refusedFigures)(figures)
		}
	}
	answer.Data = data
	return answer
}
