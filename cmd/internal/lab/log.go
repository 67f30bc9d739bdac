package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
)

// waitLog waits for the first line of a log file that matches and gives its
// submatches.
func waitLog(ctx context.Context, path string, re *regexp.Regexp) ([]string, error) {
	var found []string
	seen := 0 // bytes of whole lines that don't match
	err := Poll(ctx, func() (bool, error) {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for line := range bytes.Lines(data[min(seen, len(data)):]) {
			if !bytes.HasSuffix(line, []byte("\n")) {
				return false, nil // being written
			}
			if found = re.FindStringSubmatch(string(bytes.TrimRight(line, "\r\n"))); found != nil {
				return true, nil
			}
			seen += len(line)
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("no line matches %q in %s: %w", re, path, err)
	}
	return found, nil
}
