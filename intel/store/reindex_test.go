package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestLostAndDamagedIndexesAreMadeAgain(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, file string){
		"lost": func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"cut off": func(t *testing.T, file string) {
			if err := os.Truncate(file, itemBytes+3); err != nil {
				t.Fatal(err)
			}
		},
		"other bytes": func(t *testing.T, file string) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[itemBytes] ^= 1
			if err := os.WriteFile(file, bytes.Clone(data), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := memoryDB(t)
			s, _ := openStore(t, db)
			versioned := func(text string) Source {
				src := from("a", text)
				src.Version = "1"
				return src
			}
			load(t, s, versioned("one.example\ntwo.example\n/x/ in=subject"), from("b", "two.example note=b"))
			s.Close()
			spoil(t, filepath.Join(s.opts.Dir, s.sourceNamed("a").indexName()))

			s, m := openStore(t, db)
			expect(t, m, "one.example", "block one.example a:0") // where it stands is not in the database
			expect(t, m, "two.example", "block two.example a:0, block two.example b:1")
			// It is read again although its version is the same, and compared with what it had.
			if r := load(t, s, versioned("one.example\ntwo.example\nthree.example\n/x/ in=subject"))[0]; r.Added != 1 || r.Removed != 0 || r.Entries != 4 {
				t.Errorf("got %s", r)
			}
			expect(t, m, "two.example", "block two.example a:2, block two.example b:1")
			expect(t, m, "three.example", "block three.example a:3")
			checkNothingIsLeft(t, s, db)
		})
	}
}
