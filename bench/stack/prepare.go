package stack

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// prepare logs in and gives every node addresses and the image.
func (s *Stack) prepare(ctx context.Context) error {
	credential := base64.StdEncoding.EncodeToString([]byte(s.AppID + ":" + s.AppKey))
	s.API = newClient(s.URL, "Basic "+credential)
	s.Panel = newClient(s.URL+"/"+s.AdminPath, "")
	login := map[string]string{"username": s.AdminUser, "password": s.AdminPassword}
	if err := s.Panel.Call(ctx, http.MethodPost, "/loginDo", login, &s.Panel.authorization); err != nil {
		return err
	}
	var nodes struct {
		Records []struct {
			ID int64 `json:"id"`
		} `json:"records"`
	}
	if err := s.Panel.Call(ctx, http.MethodGet, "/selectNodeByPage?page=1&size=100", nil, &nodes); err != nil {
		return err
	}
	for i, node := range nodes.Records {
		s.Nodes = append(s.Nodes, node.ID)
		pool := map[string]any{
			"poolName": fmt.Sprintf("Bench %d", node.ID), "nodeId": node.ID, "gateway": fmt.Sprintf("10.%d.0.1", 160+i), "mask": 20,
			"dns1": "1.1.1.1", "dns2": "8.8.8.8",
		}
		if err := s.Panel.Call(ctx, http.MethodPost, "/insertIpPoolByMask", pool, nil); err != nil {
			return err
		}
		if node.ID == s.NodeID {
			continue // the demo has brought the image there
		}
		download := map[string]int64{"osId": s.ImageID, "nodeId": node.ID}
		if err := s.Panel.Call(ctx, http.MethodPost, "/downloadOs", download, nil); err != nil {
			return err
		}
	}
	return s.awaitImages(ctx)
}

// imageReady is the state of an image that is on a node.
const imageReady = 2

func (s *Stack) awaitImages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		var images struct {
			Records []struct {
				ID         int64 `json:"id"`
				NodeStatus map[string]struct {
					Status int `json:"status"`
				} `json:"nodeStatus"`
			} `json:"records"`
		}
		if err := s.Panel.Call(ctx, http.MethodGet, "/selectOsByPage?page=1&size=100", nil, &images); err != nil {
			return fmt.Errorf("wait for the image on all nodes: %w", err)
		}
		there := 0
		for _, image := range images.Records {
			for _, node := range image.NodeStatus {
				if image.ID == s.ImageID && node.Status == imageReady {
					there++
				}
			}
		}
		if there == len(s.Nodes) {
			return nil
		}
		if err := Pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the image on all nodes: %w", err)
		}
	}
}

func Pause(ctx context.Context, length time.Duration) error {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
