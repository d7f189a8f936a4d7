package controlled

import (
	"strings"
	"testing"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"listen":                 func(c *Config) { c.Listen = "7600" },
		"data_dir":               func(c *Config) { c.DataDir = "data" },
		"image_dirs":             func(c *Config) { c.ImageDirs = []string{"/home/.."} },
		"image_dirs: at least":   func(c *Config) { c.ImageDirs = nil },
		"read_dirs":              func(c *Config) { c.ReadDirs = []string{"etc"} },
		"qm_command":             func(c *Config) { c.QMCommand = nil },
		"max_download_bytes":     func(c *Config) { c.MaxDownloadBytes = 0 },
		"max_downloads":          func(c *Config) { c.MaxDownloads = 0 },
		"download_attempts":      func(c *Config) { c.DownloadAttempts = 0 },
		"download_retry_delay":   func(c *Config) { c.DownloadRetryDelay = 0 },
		"download_stall_timeout": func(c *Config) { c.DownloadStallTimeout = -1 },
		"download_deadline":      func(c *Config) { c.DownloadDeadline = 0 },
		"max_operations":         func(c *Config) { c.MaxOperations = -1 },
		"operation_deadline":     func(c *Config) { c.OperationDeadline = 0 },
		"operation_retention":    func(c *Config) { c.OperationRetention = 0 },
		"command_timeout":        func(c *Config) { c.CommandTimeout = 2 * maxCommandTimeout },
	} {
		config := DefaultConfig()
		change(&config)
		if err := config.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
