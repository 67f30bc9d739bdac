package viewtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// wordView shows the words that were said last, by entity. It is what a view over
// kv looks like.
type wordView struct {
	db    *kv.DB
	spoil string // how it breaks the contract, for the suite to find
	count int
}

const prefix = "words/"

func (v *wordView) Name() string {
	if v.spoil == "no name" {
		return ""
	}
	return "words"
}

func (v *wordView) Applied() (ledger.Cursor, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return ledger.Cursor{}, err
	}
	defer s.Release()
	b, err := s.Applied(v.Name())
	if err != nil {
		return ledger.Cursor{}, err
	}
	return ledger.CursorFromBytes(b)
}

func (v *wordView) Apply(ctx context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	var b kv.Batch
	for _, e := range events {
		if e.Type != "said" {
			if v.spoil == "fails on unknown types" {
				return errors.New("what is this?")
			}
			continue
		}
		word := "erased"
		if !e.Erased || v.spoil == "fails on erased events" {
			if err := json.Unmarshal(e.Data, &word); err != nil {
				return err
			}
		}
		key := prefix + e.Entity
		if v.spoil == "counts what comes again" {
			v.count++
			key += fmt.Sprint(v.count)
		}
		if v.spoil == "depends on groups" {
			word += fmt.Sprint(len(events))
		}
		b.Set([]byte(key), []byte(word))
	}
	if v.spoil == "writes content before it looks at the context" {
		if err := v.db.Commit(&b); err != nil {
			return err
		}
		b.Reset()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if v.spoil != "forgets its cursor" {
		b.SetApplied(v.Name(), upTo.Bytes())
	}
	return v.db.Commit(&b)
}

func (v *wordView) Rebuild(ctx context.Context) error {
	if v.spoil != "does not empty" {
		if err := v.db.DeletePrefix(ctx, []byte(prefix)); err != nil {
			return err
		}
	}
	var b kv.Batch
	if v.spoil != "keeps its cursor" {
		b.SetApplied(v.Name(), nil)
	}
	return v.db.Commit(&b)
}

func (v *wordView) dump() (string, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return "", err
	}
	defer s.Release()
	var list []string
	for e, err := range s.Range([]byte(prefix), nil) {
		if err != nil {
			return "", err
		}
		list = append(list, fmt.Sprintf("%s=%s", e.Key, e.Value))
	}
	return strings.Join(list, "\n"), nil
}

func fixture(t *testing.T, spoil string) Fixture {
	t.Helper()
	db, err := kv.Open(kv.Options{Name: "words", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return Fixture{
		Open: func() (ledger.View, error) { return &wordView{db: db, spoil: spoil}, nil },
		Dump: func(v ledger.View) (string, error) { return v.(*wordView).dump() },
	}
}

func words() []Commit {
	say := func(words ...string) (list []ledger.Event) {
		for _, w := range words {
			data, _ := json.Marshal(w)
			list = append(list, ledger.Event{Type: "said", Schema: 1, Data: data})
		}
		return list
	}
	return []Commit{{"a", say("one")}, {"b", say("two", "three")}, {"a", say("four")}, {"c", say("five", "six", "seven")}}
}

func TestAViewOverKVPasses(t *testing.T) {
	Test(t, words(), func(t *testing.T) Fixture { return fixture(t, "") })
}

func TestTheSuiteFindsEachBreach(t *testing.T) {
	events, err := record(words())
	if err != nil {
		t.Fatal(err)
	}
	for spoil, where := range map[string]string{
		"no name":                 "a new view has applied nothing",
		"depends on groups":       "groups of any size give the same content",
		"counts what comes again": "a group that comes again changes nothing",
		"forgets its cursor":      "content and cursor are there after a restart",
		"does not empty":          "Rebuild empties the view",
		"keeps its cursor":        "Rebuild empties the view",
		"fails on unknown types":  "unknown types are passed over",
		"fails on erased events":  "erased events are taken",
		"writes content before it looks at the context": "a context that has ended leaves content and cursor together",
	} {
		i := slices.IndexFunc(checks(), func(c check) bool { return c.name == where })
		if err := checks()[i].run(events, func() Fixture { return fixture(t, spoil) }); err == nil {
			t.Errorf("a view that %s passes", spoil)
		}
	}
	if _, err := record(nil); err == nil {
		t.Error("a suite without events says nothing and passes")
	}
}
