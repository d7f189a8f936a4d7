package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"gantry/server/broker"
)

// secretKeySetting names the key that all stored secrets were encrypted with when Reencrypt last ended.
const secretKeySetting = "secret_key_in_use"

// reencryptedRows bounds how long one transaction of Reencrypt keeps others waiting.
const reencryptedRows = 200

// secretColumn is where secrets stand. Each is bound to its place by context, see secrets.Keyring.Encrypt.
type secretColumn struct {
	table, key, column, condition string
	context                       func(row secretRow) string
}

type secretRow struct {
	ID    int64
	Name  string
	Value string
}

func secretColumns() []secretColumn {
	byID := func(context func(int64) string) func(secretRow) string {
		return func(row secretRow) string { return context(row.ID) }
	}
	return []secretColumn{
		{"clusters", "id", "options", "options <> ''", byID(clusterOptionsContext)},
		{"nodes", "id", "ssh_password", "ssh_password <> ''", byID(sshPasswordContext)},
		{"nodes", "id", "daemon_secret", "daemon_secret <> ''", byID(daemonSecretContext)},
		{"vms", "id", "password", "password <> ''", byID(vmPasswordContext)},
		{"vms", "id", "pending_password", "pending_password <> ''", byID(vmPendingContext)},
		{"vms", "id", "console_password", "console_password <> ''", byID(vmConsoleContext)},
		{"admins", "id", "totp_secret", "totp_secret <> ''", byID(totpContext)},
		{"settings", "name", "value", "secret AND value <> ''", func(row secretRow) string { return settingContext(row.Name) }},
	}
}

// Reencrypt writes every stored secret anew that is not encrypted with the key that encrypts now, so that a key which was
// rotated away opens nothing of the database any more. It costs one look-up when the key is the same as last time. Values
// that change meanwhile are left to who changes them. It may be cut off at any time: the next one goes on. It tells whether the
// key is another one than last time.
func (s *session) Reencrypt(ctx context.Context) (changed bool, err error) {
	key := s.secrets.CurrentKey()
	used, err := s.Setting(ctx, secretKeySetting)
	if err != nil && !broker.Is(err, broker.NotFound) {
		return false, err
	}
	if used == key {
		return false, nil
	}
	for _, column := range secretColumns() {
		last, err := s.reencryptSome(ctx, column, nil)
		for err == nil && last != nil {
			last, err = s.reencryptSome(ctx, column, last)
		}
		if err != nil {
			return false, err
		}
	}
	return used != "", s.SaveSetting(ctx, secretKeySetting, key, false)
}

// reencryptSome goes on after a row; it gives the last row's key, nil when there are no more.
func (s *session) reencryptSome(ctx context.Context, column secretColumn, after any) (last any, err error) {
	err = s.write(ctx, "encrypt "+column.table+" anew", func(db *gorm.DB) error {
		last = nil
		query := db.Table(column.table).Select(column.key + ", " + column.column + " AS value").Where(column.condition)
		if after != nil {
			query = query.Where(column.key+" > ?", after)
		}
		var rows []secretRow
		if err := query.Order(column.key).Limit(reencryptedRows).Find(&rows).Error; err != nil {
			return err
		}
		for _, row := range rows {
			if last = row.ID; column.key == "name" {
				last = row.Name
			}
			if s.secrets.Current(row.Value) {
				continue
			}
			plain, err := s.secrets.Decrypt(row.Value, column.context(row))
			if err != nil {
				return err
			}
			fresh, err := s.secrets.Encrypt(plain, column.context(row))
			if err != nil {
				return err
			}
			update := fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s = ? AND %s = ?", column.table, column.column, column.key, column.column)
			if err := db.Exec(update, fresh, last, row.Value).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return last, err
}

func settingContext(name string) string { return "settings/" + name }
