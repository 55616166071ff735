module github.com/hashicorp/raft/testing/process

go 1.25.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/hashicorp/raft/testing/internal/child v0.0.0
	golang.org/x/sys v0.47.0
)

replace github.com/hashicorp/raft/testing/internal/child => ../internal/child
