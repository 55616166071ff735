// The scenarios with hashicorp/raft v1.8.0.
package main

import "github.com/hashicorp/raft/testing/safety/scenarios"

func main() { scenarios.Main() }
