// The scenarios with this library.
package main

import "github.com/hashicorp/raft/testing/safety/scenarios"

func main() { scenarios.Main() }
