module github.com/hashicorp/raft/testing/safety

go 1.25.0

require github.com/hashicorp/raft/testing/safety/scenarios v0.0.0

replace github.com/hashicorp/raft/testing/safety/scenarios => ./scenarios
