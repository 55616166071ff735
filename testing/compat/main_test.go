package compat

import (
	"testing"

	"github.com/hashicorp/raft/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
