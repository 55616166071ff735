module github.com/hashicorp/raft/testing/internal/child

go 1.25.0
