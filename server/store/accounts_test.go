package store_test

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"gantry/server/broker"
	"gantry/server/store"
)

func TestAdmins(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		login := start
		admin := &broker.Admin{
			UUID: "u1", Username: "root", PasswordHash: "argon", Name: "n", Phone: "p", Email: "e", LoginAt: &login, TokensAfter: start, CreatedAt: start,
		}
		check(t, s.InsertAdmin(ctx, admin))
		second := &broker.Admin{UUID: "u2", Username: "other", CreatedAt: start}
		check(t, s.InsertAdmin(ctx, second))
		refused(t, s.InsertAdmin(ctx, &broker.Admin{UUID: "u3", Username: "root"}), broker.Exists, "the same name")
		second.Username = "root"
		refused(t, s.UpdateAdmin(ctx, second), broker.Exists, "renamed to a taken name")
		admin.Disabled, admin.LoginAt, admin.TokensAfter = true, nil, start.Add(time.Hour)
		check(t, s.UpdateAdmin(ctx, admin))
		for how, find := range map[string]func() (*broker.Admin, error){
			"id":   func() (*broker.Admin, error) { return s.FindAdmin(ctx, admin.ID) },
			"name": func() (*broker.Admin, error) { return s.FindAdminByName(ctx, "root") },
			"uuid": func() (*broker.Admin, error) { return s.FindAdminByUUID(ctx, "u1") },
		} {
			if found, err := find(); err != nil || !reflect.DeepEqual(found, admin) {
				t.Errorf("by %s: %+v, %v", how, found, err)
			}
		}
		_, err := s.FindAdminByName(ctx, "ROOT")
		refused(t, err, broker.NotFound, "another spelling")
		refused(t, s.UpdateAdmin(ctx, &broker.Admin{ID: 99, UUID: "u9", Username: "x"}), broker.NotFound, "unknown administrator")
		if list, total, err := s.ListAdmins(ctx, broker.Page{Number: 1, Size: 1}); err != nil || total != 2 || len(list) != 1 {
			t.Errorf("listed %d of %d, %v", len(list), total, err)
		}
	})
}

func TestAPIKeys(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		key := &broker.APIKey{AppID: "1234", SecretHash: "h", Hint: "beef", Info: "WHMCS", CreatedAt: start}
		check(t, s.InsertAPIKey(ctx, key))
		refused(t, s.InsertAPIKey(ctx, &broker.APIKey{AppID: "1234"}), broker.Exists, "the same appid")
		key.Disabled, key.Info = true, "ZJMF"
		check(t, s.UpdateAPIKey(ctx, key))
		if found, err := s.FindAPIKeyByAppID(ctx, "1234"); err != nil || *found != *key {
			t.Errorf("got %+v, %v", found, err)
		}
		if list, total, err := s.ListAPIKeys(ctx, broker.Page{Number: 1, Size: 9}); err != nil || total != 1 || list[0] != *key {
			t.Errorf("listed %v, %v", list, err)
		}
		check(t, s.DeleteAPIKey(ctx, key.ID))
		_, err := s.FindAPIKey(ctx, key.ID)
		refused(t, err, broker.NotFound, "removed key")
		refused(t, s.DeleteAPIKey(ctx, key.ID), broker.NotFound, "removed key")
		refused(t, s.UpdateAPIKey(ctx, key), broker.NotFound, "removed key")
	})
}

func TestAnOrderKeyIsUsedOnce(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		order := &broker.Order{APIKeyID: 1, Key: "service-7", RequestHash: "h", VMID: 3, CreatedAt: start}
		check(t, s.InsertOrder(ctx, order))
		refused(t, s.InsertOrder(ctx, &broker.Order{APIKeyID: 1, Key: "service-7"}), broker.Exists, "the same key")
		check(t, s.InsertOrder(ctx, &broker.Order{APIKeyID: 2, Key: "service-7", CreatedAt: start}))
		check(t, s.InsertOrder(ctx, &broker.Order{APIKeyID: 1, Key: "SERVICE-7", CreatedAt: start}))
		if found, err := s.FindOrder(ctx, 1, "service-7"); err != nil || *found != *order {
			t.Errorf("got %+v, %v", found, err)
		}
		check(t, s.DeleteOrders(ctx, 3))
		_, err := s.FindOrder(ctx, 1, "service-7")
		refused(t, err, broker.NotFound, "a freed key")
		var won, lost int
		var mu sync.Mutex
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				err := s.InsertOrder(ctx, &broker.Order{APIKeyID: 1, Key: "race", CreatedAt: start})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if broker.Is(err, broker.Exists) {
					lost++
				} else {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won != 1 || lost != 19 {
			t.Errorf("%d won, %d lost", won, lost)
		}
	})
}

func TestAudit(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		first := &broker.AuditEntry{
			At: start, RequestID: "r", Actor: "admin:x", Address: "::1", Method: "POST", Path: "/p", Body: `{"a":"***"}`, Status: 200,
			Code: 20000, Duration: 1500 * time.Microsecond,
		}
		check(t, s.InsertAudit(ctx, first))
		second := &broker.AuditEntry{At: start}
		check(t, s.InsertAudit(ctx, second))
		list, total, err := s.ListAudit(ctx, broker.Page{Number: 1, Size: 5})
		if err != nil || total != 2 || list[0].ID != second.ID || list[1] != *first {
			t.Errorf("listed %+v of %d, %v", list, total, err)
		}
	})
}

func TestConsoleNodes(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		node := &broker.ConsoleNode{Name: "fra", URL: "https://c.example.org", Secret: "h", CreatedAt: start}
		check(t, s.InsertConsoleNode(ctx, node))
		refused(t, s.InsertConsoleNode(ctx, &broker.ConsoleNode{Name: "fra"}), broker.Exists, "the same name")
		node.Disabled = true
		check(t, s.UpdateConsoleNode(ctx, node))
		if found, err := s.FindConsoleNodeByName(ctx, "fra"); err != nil || *found != *node {
			t.Errorf("got %+v, %v", found, err)
		}
		if list, total, err := s.ListConsoleNodes(ctx, broker.Page{Number: 1, Size: 5}); err != nil || total != 1 || list[0] != *node {
			t.Errorf("listed %+v, %v", list, err)
		}
		check(t, s.DeleteConsoleNode(ctx, node.ID))
		refused(t, s.DeleteConsoleNode(ctx, node.ID), broker.NotFound, "removed proxy")
		_, err := s.FindConsoleNodeByName(ctx, "fra")
		refused(t, err, broker.NotFound, "removed proxy")
	})
}

func TestSettings(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		check(t, s.SaveSetting(ctx, "name", "one", false))
		check(t, s.SaveSetting(ctx, "name", "two", true))
		if got, err := s.Setting(ctx, "name"); err != nil || got != "two" {
			t.Errorf("got %q, %v", got, err)
		}
		values := map[string]int{}
		var mu sync.Mutex
		var group sync.WaitGroup
		for number := range 16 {
			group.Go(func() {
				holds, err := s.InsertSetting(ctx, "admin-path", string(rune('a'+number)), true)
				check(t, err)
				mu.Lock()
				values[holds]++
				mu.Unlock()
			})
		}
		group.Wait()
		if len(values) != 1 {
			t.Errorf("replicas that start together hold different values: %v", values)
		}
		_, err := s.Setting(ctx, "never")
		refused(t, err, broker.NotFound, "a setting that was never set")
	})
}
