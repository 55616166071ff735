package raft

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
)

// This file works on the stores of a node that is not running: it creates, repairs
// and inspects them. It owns no state.

// BootstrapCluster writes the first configuration into the empty stores of a server,
// before [NewRaft]. It is done once in the life of a cluster: on one server, which
// then adds the others, or on several with the identical configuration.
//
// The error is [ErrCantBootstrap] if the stores are not empty; nothing has changed
// then, and a server that restarts may ignore it. It is not checked that this server
// is in the configuration.
func BootstrapCluster(conf *Config, logs LogStore, stable StableStore, snaps SnapshotStore, trans Transport,
	configuration Configuration) error {
	if err := ValidateConfig(conf); err != nil {
		return err
	}
	entry, err := bootstrapEntry(conf, configuration, trans)
	if err != nil {
		return err
	}
	exists, err := HasExistingState(logs, stable, snaps)
	if err != nil {
		return fmt.Errorf("failed to check for existing state: %w", err)
	}
	if exists {
		return ErrCantBootstrap
	}
	// The term comes first: no log may have an entry of a later term than its node.
	if err := saveHardState(stable, hardState{term: entry.Term}); err != nil {
		return fmt.Errorf("failed to save current term: %w", err)
	}
	if err := logs.StoreLog(entry); err != nil {
		return fmt.Errorf("failed to append configuration entry to log: %w", err)
	}
	return nil
}

// bootstrapEntry returns the entry that begins the log of a new cluster.
func bootstrapEntry(conf *Config, configuration Configuration, trans Transport) (*Log, error) {
	if err := checkConfiguration(configuration); err != nil {
		return nil, err
	}
	version := conf.ProtocolVersion
	if version == 2 {
		version = 1 // unlike its changes, the first configuration of version 2 is a set of peers
	}
	entry, err := configurationLog(configuration, version, trans)
	if err != nil {
		return nil, err
	}
	entry.Index, entry.Term = 1, bootstrapTerm
	return &entry, nil
}

// bootstrapTerm is the term of the first entry of every cluster. Nobody is elected in it,
// so a server that has this term and nothing else has heard of no leader: a crash came
// between the two writes of its bootstrap.
const bootstrapTerm = 1

// HasExistingState reports whether the stores hold anything of an earlier life: a
// term, an entry or a snapshot. The term of a bootstrap that a crash has interrupted is
// none: the bootstrap can be repeated.
func HasExistingState(logs LogStore, stable StableStore, snaps SnapshotStore) (bool, error) {
	term, err := stableUint64(stable, keyCurrentTerm)
	if err != nil {
		return false, fmt.Errorf("failed to read current term: %w", err)
	}
	if term > bootstrapTerm {
		return true, nil
	}
	last, err := logs.LastIndex()
	if err != nil {
		return false, fmt.Errorf("failed to get last log index: %w", err)
	}
	if last > 0 {
		return true, nil
	}
	list, err := snaps.List()
	if err != nil {
		return false, fmt.Errorf("failed to list snapshots: %w", err)
	}
	return len(list) > 0, nil
}

// GetConfiguration returns the configuration that a node with these stores would start
// with: the latest one in its log or its newest usable snapshot, committed or not; the
// zero value if it has none. Nothing is changed. fsm is not used and may be nil.
func GetConfiguration(conf *Config, fsm FSM, logs LogStore, stable StableStore, snaps SnapshotStore,
	trans Transport) (Configuration, error) {
	if err := ValidateConfig(conf); err != nil {
		return Configuration{}, err
	}
	own := *conf // logger sets a field
	meta, err := newestSnapshot(snaps, own.logger(), own.NoSnapshotRestoreOnStart)
	if err != nil {
		return Configuration{}, err
	}
	h, err := readHistory(meta, logs, trans, own.logger())
	return h.configuration.config, err
}

// newestSnapshot returns the metadata of the newest snapshot that can be opened, nil
// if the store has none. If trusted, the newest is taken without opening it.
func newestSnapshot(snaps SnapshotStore, logger hclog.Logger, trusted bool) (*SnapshotMeta, error) {
	if !trusted {
		return usableSnapshot(snaps, logger, func(*SnapshotMeta, io.ReadCloser) error { return nil })
	}
	list, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("failed to list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[0], nil
}

// history is what a snapshot and the log above it come to.
type history struct {
	snapshot      entryID // zero: none
	last          entryID
	configuration configEntry // the latest
}

func readHistory(meta *SnapshotMeta, logs LogStore, trans Transport, logger hclog.Logger) (h history, err error) {
	if meta != nil {
		h.snapshot = entryID{meta.Index, meta.Term}
		if h.configuration, err = snapshotConfiguration(meta, trans); err != nil {
			return history{}, err
		}
	}
	h.last, err = readLog(logs, h.snapshot, logger, func(e *Log) error {
		c, ok, err := entryConfiguration(e, trans)
		if ok {
			h.configuration = configEntry{e.Index, c}
		}
		return err
	})
	if err != nil {
		return history{}, err
	}
	return h, nil
}

// readLog calls visit with every entry above base, in order, and returns the last one,
// or base if there is none. The entries are valid only meanwhile. A missing entry is an
// error. A log that belongs to another history than base counts as empty (R10).
func readLog(logs LogStore, base entryID, logger hclog.Logger, visit func(*Log) error) (entryID, error) {
	lastIndex, err := logs.LastIndex()
	if err != nil {
		return entryID{}, fmt.Errorf("failed to find last log: %w", err)
	}
	if lastIndex <= base.index {
		return base, nil
	}
	joins, err := joinsBase(logs, base)
	if err != nil {
		return entryID{}, err
	}
	if !joins {
		logger.Warn("ignoring log that contradicts the snapshot", "snapshot", base, "last-index", lastIndex)
		return base, nil
	}
	last := base
	err = readAbove(logs, base, lastIndex, func(e *Log) error {
		last = idOf(e)
		return visit(e)
	})
	if err != nil {
		return entryID{}, err
	}
	return last, nil
}

// joinsBase reports whether a log that reaches beyond base continues it. It does not
// after a crash between the installation of a snapshot and the removal of the log
// which the snapshot replaces.
func joinsBase(logs LogStore, base entryID) (bool, error) {
	if base.index == 0 {
		return true, nil
	}
	e := new(Log)
	switch err := logs.GetLog(base.index, e); {
	case err == nil:
		return e.Term == base.term, nil
	case !isNotFound(err):
		return false, fmt.Errorf("failed to get log at index %d: %w", base.index, err)
	}
	e, err := getLog(logs, base.index+1) // nothing is left up to base
	if err != nil {
		return false, err
	}
	return e.Term >= base.term, nil
}

// RecoveryPlan says what [RecoverCluster] would make of a server's stores.
type RecoveryPlan struct {
	// CurrentTerm is the newest term that the server has seen.
	CurrentTerm uint64

	// LastIndex and LastTerm name the last entry. The recovered cluster starts
	// from here: of what other servers have beyond it, everything is lost. Recover
	// from the server with the greatest LastTerm, among those the greatest
	// LastIndex: no committed entry is lost if that server was among a majority.
	LastIndex uint64
	LastTerm  uint64

	// SnapshotIndex is the last entry of the newest usable snapshot, 0 if there is
	// none, and SnapshotID its name.
	SnapshotIndex uint64
	SnapshotID    string

	// Entries is how many entries lie above the snapshot. RecoverCluster takes
	// all of them for committed, whether they are or not.
	Entries uint64

	// Configuration is the present configuration, which RecoverCluster replaces,
	// and ConfigurationIndex the index of its entry.
	Configuration      Configuration
	ConfigurationIndex uint64
}

// PlanRecovery is a dry run of [RecoverCluster]: it reports what that would start
// from and which configuration it would replace, and changes nothing. It fails where
// RecoverCluster would for the state of the stores, a missing entry for instance.
func PlanRecovery(logs LogStore, stable StableStore, snaps SnapshotStore, trans Transport) (RecoveryPlan, error) {
	logger := hclog.NewNullLogger()
	term, err := stableUint64(stable, keyCurrentTerm)
	if err != nil {
		return RecoveryPlan{}, fmt.Errorf("failed to read current term: %w", err)
	}
	meta, err := newestSnapshot(snaps, logger, false)
	if err != nil {
		return RecoveryPlan{}, err
	}
	h, err := readHistory(meta, logs, trans, logger)
	if err != nil {
		return RecoveryPlan{}, err
	}
	plan := RecoveryPlan{
		CurrentTerm:        term,
		LastIndex:          h.last.index,
		LastTerm:           h.last.term,
		SnapshotIndex:      h.snapshot.index,
		Entries:            h.last.index - h.snapshot.index,
		Configuration:      h.configuration.config,
		ConfigurationIndex: h.configuration.index,
	}
	if meta != nil {
		plan.SnapshotID = meta.ID
	}
	return plan, nil
}

// RecoverCluster gives a server that is not running a configuration by force, for a
// cluster that has lost its majority for ever. Call it on every server that is left,
// with the same configuration, before any of them runs again; [PlanRecovery] says
// beforehand what each of them has.
//
// This forks history. Every entry of this server's log is taken for committed, although
// it may not be, and what only the lost servers had is lost, although it may have been
// committed and acknowledged. Servers that were not recovered must not come back with
// their old state: wipe them.
//
// All of the log is applied to fsm and a snapshot written that carries the configuration;
// only when the snapshot is durable the log is deleted. An error before that leaves the
// stores as they were. If deleting fails or is interrupted the recovery is complete all
// the same, and repeating it does no harm. fsm must be an empty one and, like conf, not
// be used for NewRaft afterwards.
func RecoverCluster(conf *Config, fsm FSM, logs LogStore, stable StableStore, snaps SnapshotStore, trans Transport,
	configuration Configuration) error {
	if err := ValidateConfig(conf); err != nil {
		return err
	}
	if err := checkConfiguration(configuration); err != nil {
		return err
	}
	exists, err := HasExistingState(logs, stable, snaps)
	if err != nil {
		return fmt.Errorf("failed to check for existing state: %w", err)
	}
	if !exists {
		return errors.New("refused to recover cluster with no initial state, this is probably an operator error")
	}
	own := *conf // logger sets a field
	last, err := replay(fsm, logs, snaps, own.logger())
	if err != nil {
		return err
	}
	if last.index == 0 {
		// A server that has only a term. The snapshot stands for the entry that
		// bootstrapping would have written, so that servers without it need the snapshot.
		last = entryID{1, 1}
	}
	if err := writeRecovered(fsm, snaps, trans, last, configuration); err != nil {
		return err
	}
	return deleteLog(logs)
}

// replay brings an empty FSM to the end of the log, which it returns.
func replay(fsm FSM, logs LogStore, snaps SnapshotStore, logger hclog.Logger) (entryID, error) {
	meta, err := usableSnapshot(snaps, logger, func(meta *SnapshotMeta, rc io.ReadCloser) error {
		return restoreFSM(fsm, meta, rc, logger)
	})
	if errors.Is(err, errNoUsableSnapshot) {
		return entryID{}, fmt.Errorf("failed to restore any of the available snapshots: %w", err)
	}
	if err != nil {
		return entryID{}, err
	}
	var base entryID
	if meta != nil {
		base = entryID{meta.Index, meta.Term}
	}
	last, err := readLog(logs, base, logger, func(*Log) error { return nil })
	if err != nil {
		return entryID{}, err
	}
	return last, applyCommands(fsm, logs, base.index+1, last.index)
}

// applyCommands applies the commands among the entries lo to hi.
func applyCommands(fsm FSM, logs LogStore, lo, hi uint64) error {
	for lo <= hi {
		entries, err := readEntries(logs, lo, int(hi-lo)+1, maxBatchBytes)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type == LogCommand {
				fsm.Apply(e)
			}
		}
		lo += uint64(len(entries))
	}
	return nil
}

// writeRecovered writes a snapshot of the FSM, at the end of the log, with the
// configuration of the recovery.
func writeRecovered(fsm FSM, snaps SnapshotStore, trans Transport, last entryID, configuration Configuration) error {
	state, err := fsm.Snapshot()
	if err != nil {
		return fmt.Errorf("failed to snapshot FSM: %w", err)
	}
	defer state.Release()
	sink, err := snaps.Create(SnapshotVersionMax, last.index, last.term, configuration, 1, trans)
	if err != nil {
		return fmt.Errorf("failed to create snapshot: %w", err)
	}
	if err := state.Persist(sink); err != nil {
		return errors.Join(fmt.Errorf("failed to persist snapshot: %w", err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("failed to finalize snapshot: %w", err)
	}
	return nil
}

// deleteLog deletes all entries.
func deleteLog(logs LogStore) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("failed to get first log index: %w", err)
	}
	last, err := logs.LastIndex()
	if err != nil {
		return fmt.Errorf("failed to get last log index: %w", err)
	}
	if last == 0 {
		return nil
	}
	if err := logs.DeleteRange(first, last); err != nil {
		return fmt.Errorf("log compaction failed: %w", err)
	}
	return nil
}
