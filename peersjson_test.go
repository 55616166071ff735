package raft

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestPeersJSONGolden(t *testing.T) {
	var cases []struct {
		Name           string
		Content        string
		ReadConfigJSON Configuration
		ReadPeersJSON  Configuration
		ConfigError    string `json:"ReadConfigJSON_error"`
		PeersError     string `json:"ReadPeersJSON_error"`
	}
	loadGolden(t, "disk/peers-cases.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, tt := range cases {
		path := filepath.Join(t.TempDir(), "peers.json")
		if err := os.WriteFile(path, []byte(tt.Content), 0o600); err != nil {
			t.Fatal(err)
		}
		check := func(what string, read func(string) (Configuration, error), want Configuration, wantErr string) {
			got, err := read(path)
			text := ""
			if err != nil {
				text = err.Error()
			}
			// Texts of encoding/json vary with its version.
			if text != wantErr && !(strings.HasPrefix(wantErr, "json:") && err != nil) {
				t.Errorf("%s: %s: %q, want %q", tt.Name, what, text, wantErr)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: %v, want %v", tt.Name, what, got, want)
			}
		}
		check("ReadConfigJSON", ReadConfigJSON, tt.ReadConfigJSON, tt.ConfigError)
		check("ReadPeersJSON", ReadPeersJSON, tt.ReadPeersJSON, tt.PeersError)
	}
}

func TestPeersJSONFiles(t *testing.T) {
	c, err := ReadConfigJSON(goldenPath("disk/peers.json"))
	if err != nil || len(c.Servers) != 3 || c.Servers[2].Suffrage != Nonvoter {
		t.Errorf("peers.json: %v, %v", c, err)
	}
	c, err = ReadPeersJSON(goldenPath("disk/peers-legacy.json"))
	if err != nil || len(c.Servers) != 3 || c.Servers[0].ID != "10.0.0.1:8300" {
		t.Errorf("peers-legacy.json: %v, %v", c, err)
	}
	if _, err := ReadConfigJSON(goldenPath("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
