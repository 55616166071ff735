// Safety takes hashicorp/raft v1.8.0 and this library through the same histories and
// prints what became of them, as a table.
//
//	go run .                # all of them; takes about three minutes
//	go run . -run 'S|L5'    # those whose ID matches
//
// See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/raft/testing/safety/scenarios/verdict"
)

// The modules with a library, and who is in the table's columns.
const (
	ours   = "ours"
	theirs = "theirs"
)

func main() {
	only := flag.String("run", "", "run the scenarios whose ID matches this regular expression")
	parallel := flag.Int("parallel", 6, "how many scenarios run at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, *only, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compare prints the table. It fails if this library is not safe in a scenario.
func compare(ctx context.Context, only string, parallel int) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "safety")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var list []verdict.Scenario
	columns := map[string][]verdict.Verdict{}
	for _, name := range []string{theirs, ours} {
		lib, err := build(ctx, dir, name, false)
		if err != nil {
			return err
		}
		if list, err = lib.scenarios(ctx); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(s verdict.Scenario) bool { return !pattern.MatchString(s.ID) })
		if columns[name], err = lib.runAll(ctx, list, parallel); err != nil {
			return err
		}
	}
	return printTable(list, columns[theirs], columns[ours])
}

func printTable(list []verdict.Scenario, theirs, ours []verdict.Verdict) error {
	fmt.Println("| | what happens | hashicorp/raft v1.8.0 | this library |")
	fmt.Println("| --- | --- | --- | --- |")
	var bad []string
	for i, s := range list {
		fmt.Printf("| %s | %s | %s | %s |\n", s.ID, s.Line, cell(theirs[i]), cell(ours[i]))
		if ours[i].Kind != verdict.Safe {
			bad = append(bad, s.ID)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("this library is not safe in %s", strings.Join(bad, ", "))
	}
	return nil
}

// cell is a verdict as the text of a cell: what is not safe stands out.
func cell(v verdict.Verdict) string {
	if v.Detail == "" {
		return emphasised(v.Kind)
	}
	return emphasised(v.Kind) + ": " + strings.ReplaceAll(shortened(v.Detail), "|", `\|`)
}

func emphasised(kind verdict.Kind) string {
	if kind == verdict.Safe {
		return string(kind)
	}
	return "**" + string(kind) + "**"
}

// shortened cuts the text of a panic down to what fits into a table.
func shortened(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
