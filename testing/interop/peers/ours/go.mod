module github.com/hashicorp/raft/testing/interop/peers/ours

go 1.25.0

require (
	github.com/hashicorp/raft v1.8.0
	github.com/hashicorp/raft/testing/interop/node v0.0.0
)

replace (
	github.com/hashicorp/raft => ../../../..
	github.com/hashicorp/raft/testing/interop/node => ../../node
)
