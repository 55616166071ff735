module github.com/hashicorp/raft/testing/interop/peers/upstream-1.7.3

go 1.25.0

require (
	github.com/hashicorp/raft v1.8.0
	github.com/hashicorp/raft-boltdb/v2 v2.3.1
	github.com/hashicorp/raft/testing/interop/node v0.0.0
)

require (
	github.com/armon/go-metrics v0.4.1 // indirect
	github.com/boltdb/bolt v1.3.1 // indirect
	github.com/fatih/color v1.13.0 // indirect
	github.com/hashicorp/go-hclog v1.6.3 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/go-metrics v0.7.0 // indirect
	github.com/hashicorp/go-msgpack/v2 v2.1.5 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/mattn/go-colorable v0.1.12 // indirect
	github.com/mattn/go-isatty v0.0.14 // indirect
	go.etcd.io/bbolt v1.3.5 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace (
	// raft-boltdb v2.3.1 does not build with v0.7.0.
	github.com/hashicorp/go-metrics => github.com/hashicorp/go-metrics v0.6.1
	github.com/hashicorp/raft => github.com/hashicorp/raft v1.7.3
	github.com/hashicorp/raft/testing/interop/node => ../../node
)
