module github.com/hashicorp/raft/testing/interop

go 1.25.0

require (
	github.com/hashicorp/raft/testing/internal/child v0.0.0
	github.com/hashicorp/raft/testing/interop/node v0.0.0
)

replace (
	github.com/hashicorp/raft/testing/internal/child => ../internal/child
	github.com/hashicorp/raft/testing/interop/node => ./node
)
