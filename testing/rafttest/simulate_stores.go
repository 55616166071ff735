package rafttest

import "github.com/hashicorp/raft"

// countingLogs is a log store that tells of the truncations of its end.
type countingLogs struct {
	raft.LogStore
	truncated func()
	ranges    raft.LogStore // the store that has these methods, nil if the one below reads no ranges
}

// countTruncations wraps a log store so that it has the optional methods that it has.
func countTruncations(logs raft.LogStore, truncated func()) raft.LogStore {
	s := &countingLogs{LogStore: logs, truncated: truncated}
	store := s.extended()
	if _, ok := readsRanges(logs); ok {
		s.ranges = store
	}
	return store
}

// extended returns s with the extensions that the store under it has.
func (s *countingLogs) extended() raft.LogStore {
	monotonic, isMonotonic := s.LogStore.(raft.MonotonicLogStore)
	tracker, isTracker := s.LogStore.(raft.CommitTrackingLogStore)
	commits := countingCommits{s, tracker}
	switch {
	case isMonotonic && isTracker:
		return struct {
			countingCommits
			raft.MonotonicLogStore
		}{commits, monotonic}
	case isMonotonic:
		return struct {
			*countingLogs
			raft.MonotonicLogStore
		}{s, monotonic}
	case isTracker:
		return commits
	default:
		return s
	}
}

func (s *countingLogs) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	return raft.ReadLogs(s.LogStore, first, last, visit)
}

func (s *countingLogs) ReadsLogsOf() raft.LogStore { return s.ranges }

func (s *countingLogs) DeleteRange(lo, hi uint64) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	err = s.LogStore.DeleteRange(lo, hi)
	if err == nil && first < lo && lo <= last && last <= hi {
		s.truncated()
	}
	return err
}

// countingCommits adds what a store that keeps the commit index has beside.
type countingCommits struct {
	*countingLogs
	tracker raft.CommitTrackingLogStore
}

func (s countingCommits) StageCommitIndex(index uint64) error {
	return s.tracker.StageCommitIndex(index)
}
func (s countingCommits) GetCommitIndex() (uint64, error) { return s.tracker.GetCommitIndex() }
