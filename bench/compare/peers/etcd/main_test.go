package main

import (
	"os"
	"testing"
)

// TestMain lets the processes that a test starts be what they shall be.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == memberArg {
		main()
		return
	}
	os.Exit(m.Run())
}
