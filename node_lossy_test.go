package raft_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A network that loses messages, repeats them late and lets them overtake each other
// costs time and nothing else: what was acknowledged is there, once and in order, and
// the cluster is at peace as soon as the network is.
func TestNodeLossyNetwork(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, options{size: 5, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
				c.net.SetLatency(time.Millisecond, 30*time.Millisecond)
				c.net.SetLoss(0.02)
				c.net.SetDuplication(0.2)
				m := &mischief{c: c, rng: rand.New(rand.NewPCG(seed, 0))}
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					m.write()
					if m.rng.IntN(1000) == 0 {
						m.any().restart()
					}
				}
				if counts := c.net.Counts(); counts.Lost < 100 || counts.Duplicated < 1000 {
					t.Errorf("hardly anything has happened: %+v", counts)
				}
				c.net.SetLoss(0)
				c.net.SetDuplication(0)
				c.leader().apply("end")
				m.check(c.converge())
			})
		})
	}
}
