//go:build batchtest

package rafttest

import "github.com/hashicorp/raft"

// ApplyBatch makes MockFSM a [raft.BatchingFSM]. The results are as of Apply, and
// nil for a configuration.
func (m *MockFSM) ApplyBatch(logs []*raft.Log) []interface{} {
	m.Lock()
	defer m.Unlock()
	results := make([]interface{}, len(logs))
	for i, log := range logs {
		if log.Type == raft.LogConfiguration {
			m.storeConfiguration(raft.DecodeConfiguration(log.Data))
			continue
		}
		results[i] = m.apply(log)
	}
	return results
}
