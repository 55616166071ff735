package raft

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestConfigGolden(t *testing.T) {
	var g struct {
		DefaultConfig map[string]interface{}
		Validate      []struct{ Change, Error string } `json:"ValidateConfig_of_DefaultConfig_with"`
	}
	loadGolden(t, "config.json", &g)
	v := reflect.ValueOf(*DefaultConfig())
	for name, want := range g.DefaultConfig {
		got := v.FieldByName(name).Interface()
		if channel, ok := got.(chan<- bool); ok && channel == nil {
			got = nil
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("DefaultConfig().%s is %v, want %v", name, got, want)
		}
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if _, golden := g.DefaultConfig[name]; !golden && !v.Field(i).IsZero() {
			t.Errorf("DefaultConfig().%s is %v; what hashicorp/raft does not have must be off", name, v.Field(i))
		}
	}
	for _, tt := range g.Validate {
		c := DefaultConfig()
		c.LocalID = "x"
		change(t, c, tt.Change)
		got := ""
		if err := ValidateConfig(c); err != nil {
			got = err.Error()
		}
		if got != tt.Error {
			t.Errorf("%s: %q, want %q", tt.Change, got, tt.Error)
		}
	}
}

// change applies a golden description such as "LocalID empty and HeartbeatTimeout=0
// (why)".
func change(t *testing.T, c *Config, description string) {
	t.Helper()
	description, _, _ = strings.Cut(description, " (")
	description = strings.NewReplacer(" and ", ", ", " empty", "=").Replace(description)
	for _, assignment := range strings.Split(description, ", ") {
		name, value, _ := strings.Cut(assignment, "=")
		field := reflect.ValueOf(c).Elem().FieldByName(name)
		switch field.Interface().(type) {
		case time.Duration:
			d, err := time.ParseDuration(value)
			if err != nil {
				t.Fatal(err)
			}
			field.SetInt(int64(d))
		case ServerID:
			field.SetString(value)
		default:
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			if field.CanInt() {
				field.SetInt(int64(n))
			} else {
				field.SetUint(uint64(n))
			}
		}
	}
}

// All mistakes are there, not only the first.
func TestValidateConfigReportsEverything(t *testing.T) {
	err := ValidateConfig(&Config{})
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) {
		t.Fatalf("%T has no Unwrap() []error", err)
	}
	if got := len(all.Unwrap()); got != 8 {
		t.Errorf("%d mistakes, want 8: %q", got, all.Unwrap())
	}
}

// What LeaseReads rests on is not for promises of days (R20).
func TestValidateConfigLeaseReads(t *testing.T) {
	c := DefaultConfig()
	c.LocalID, c.LeaseReads = "x", true
	if err := ValidateConfig(c); err != nil {
		t.Error(err)
	}
	c.HeartbeatTimeout, c.ElectionTimeout = maxPromise+1, maxPromise+1
	if err := ValidateConfig(c); err == nil || !strings.Contains(err.Error(), "LeaseReads") {
		t.Errorf("with promises longer than a day: %v", err)
	}
	c.LeaseReads = false
	if err := ValidateConfig(c); err != nil {
		t.Error(err)
	}
}

func TestReloadableConfig(t *testing.T) {
	want := ReloadableConfig{1, 2, 3, 4, 5}
	c := want.apply(*DefaultConfig())
	if got := c.reloadable(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if d := DefaultConfig(); d.reloadable().apply(c) != *d {
		t.Error("another field changed")
	}
}

func TestConfigLogger(t *testing.T) {
	var out bytes.Buffer
	c := &Config{LogOutput: &out, LogLevel: "WARN"}
	c.logger().Info("quiet")
	c.logger().Warn("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "raft: loud") {
		t.Errorf("logged %q", got)
	}
	c = &Config{}
	c.logger()
	if c.LogOutput != os.Stderr {
		t.Error("LogOutput is not os.Stderr by default")
	}
}
