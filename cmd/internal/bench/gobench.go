package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// goBenchmarks runs the Go benchmarks along a message's path, one package after
// the other so that they don't disturb each other.
func (b *bench) goBenchmarks(ctx context.Context) error {
	length := "0.5s"
	if b.quick {
		length = "1x"
	}
	b.print("\nGo benchmarks, from parsing to the whole path\n")
	var errs []error
	for _, of := range []struct{ pkg, names string }{
		{"filter/message", "BenchmarkUsualMessage/parse|BenchmarkOneMegabyteAttachment/parse"},
		{"filter/message/links", "BenchmarkLinks"},
		{"intel/match", "BenchmarkMatch$/100k"},
		{"filter/policy", "BenchmarkDecide"},
		{"intel/journal", "BenchmarkAppend"},
		{"filter", "BenchmarkHandle"},
		{"cmd/internal/bench", "BenchmarkRealMessages"},
	} {
		args := []string{"test", "-run", "^$", "-bench", of.names, "-benchmem", "-benchtime", length, "github.com/weirmail/weir/" + of.pkg}
		cmd := exec.CommandContext(ctx, "go", args...)
		var printed strings.Builder
		cmd.Stdout = io.MultiWriter(b.out, &printed)
		cmd.Stderr = cmd.Stdout
		err := cmd.Run()
		if err == nil && !strings.Contains(printed.String(), "ns/op") {
			err = errors.New("no benchmark ran")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("go %s: %w", strings.Join(args, " "), err))
		}
		b.report.GoBenchmarks += printed.String()
	}
	return errors.Join(errs...)
}
