package main

import (
	"os"
	"testing"

	"github.com/hashicorp/raft/bench/compare/load"
)

// TestMain lets the processes that a test starts be what they shall be.
func TestMain(m *testing.M) {
	if load.IsChild() {
		main()
		return
	}
	os.Exit(m.Run())
}
