package intel

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// sample gives the path of a file with vectors that others made. They lie
// beside the repository, not in it.
func sample(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(append([]string{dir, "..", "shared", "samples"}, elem...)...)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the samples are not beside the repository: %v", err)
		}
		return path
	}
	t.Fatal("found no go.mod above the package")
	return ""
}

// sampleLines decodes a file of one JSON value a line.
func sampleLines[T any](t *testing.T, elem ...string) []T {
	t.Helper()
	file, err := os.Open(sample(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var all []T
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if len(all) == 0 || lines.Err() != nil {
		t.Fatalf("no lines: %v", lines.Err())
	}
	return all
}

// sampleArray decodes a JSON array and leaves out the remarks, which are strings in it.
func sampleArray[T any](t *testing.T, elem ...string) []T {
	t.Helper()
	data, err := os.ReadFile(sample(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		t.Fatal(err)
	}
	var all []T
	for _, r := range raw {
		if r[0] != '{' {
			continue
		}
		var one T
		if err := json.Unmarshal(r, &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}
