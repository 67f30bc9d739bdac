package store

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

func TestIndexShardsAreFoundByHash(t *testing.T) {
	for _, n := range []int{0, 1, shardItems, shardItems + 1, 10_000} {
		var items []item
		for i := range n {
			h := uint64(i) * 0x9e3779b97f4a7c15
			items = append(items, item{h, h ^ 1, uint32(i + 1)}, item{h, h ^ 2, uint32(i + 1 + n)})
		}
		items = append(items, item{math.MaxUint64, 1, 7})
		shards := shardsFor(len(items))
		slices.SortFunc(items, item.compareLines)
		encoded := make([][]byte, shards)
		for i, it := range items {
			shard := shardOf(it.hash, shards)
			if i > 0 && shard < shardOf(items[i-1].hash, shards) {
				t.Fatalf("%x is in shard %d of %d", it.hash, shard, shards)
			}
			encoded[shard] = appendItem(encoded[shard], it)
		}
		for _, it := range items {
			shard := encoded[shardOf(it.hash, shards)]
			if line := findItem(shard, it); line != it.line {
				t.Fatalf("%x stands on line %d, found on %d", it.hash, it.line, line)
			}
			if line := findItem(shard, item{it.hash, it.content ^ 4, 0}); line != 0 {
				t.Fatalf("something that is not there is found on line %d", line)
			}
		}
	}
	for n, want := range map[int]int{0: 1, shardItems: 1, shardItems + 1: 2, 2 * shardItems: 2, 2*shardItems + 1: 4} {
		if got := shardsFor(n); got != want {
			t.Errorf("%d items: %d shards, want %d", n, got, want)
		}
	}
}

func TestCrowdsAreRefused(t *testing.T) {
	var alike, spread []item
	for i := range maxShardItems + 1 {
		alike = append(alike, item{hash: uint64(i), line: uint32(i + 1)})
		spread = append(spread, item{hash: uint64(i) << 48, line: uint32(i + 1)})
	}
	see := func(items []item) error {
		c := crowds{shards: shardsFor(len(items))}
		for _, it := range items {
			if err := c.see(it); err != nil {
				return err
			}
		}
		return nil
	}
	if err := see(alike); err == nil || err.Error() != "line 12001: is one of more than 12000 entries whose hashes begin alike" {
		t.Errorf("got %v", err)
	}
	if err := see(alike[:maxShardItems]); err != nil {
		t.Error(err)
	}
	if err := see(spread); err != nil {
		t.Error(err)
	}
}

func TestStateComesBack(t *testing.T) {
	for _, s := range []state{{}, {active: 5, reserved: 9, forgotten: 2, sources: 77, aborted: []uint64{6, 8}}} {
		back, err := decodeState(s.encode())
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%+v comes back as %+v, %v", s, back, err)
		}
	}
}

func FuzzDamagedValuesAreErrors(f *testing.F) {
	p, _ := intel.Below("evil.example")
	ind := &intel.Indicator{
		Pattern: p, Disposition: intel.Block, Until: time.Unix(1e9, 0), Action: intel.ActionHold, Direction: intel.Inbound,
		Roles: []intel.Role{intel.RoleURL}, ID: "id", Campaign: "c", Note: "n", Confidence: 80, TLP: intel.TLPAmber,
	}
	attributes := appendAttributes(nil, ind)
	f.Add(attributes)
	f.Add(entry{longKey: []byte("key"), records: []record{{1, 2, 3, attributes}, {4, 5, 0, nil}}}.encode())
	f.Add((&state{active: 5, aborted: []uint64{6}}).encode())
	f.Add((&source{name: "a", entries: 3, sum: 1 << 60}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decodeState(data); err == nil {
			if again, err := decodeState(s.encode()); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("%+v, %v", s, err)
			}
		}
		if s, err := decodeSource(1, data); err == nil {
			if again, err := decodeSource(1, s.encode()); err != nil || !reflect.DeepEqual(again, s) {
				t.Fatalf("%+v, %v", s, err)
			}
		}
		if e, err := decodeEntry(data, nil); err == nil {
			encoded := e.encode()
			again, err := decodeEntry(encoded, nil)
			if err != nil || !bytes.Equal(again.encode(), encoded) || len(again.records) != len(e.records) {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		key := p.AppendKey(nil)
		if ind, err := indicator(key, data); err == nil {
			again, err := indicator(key, appendAttributes(nil, ind))
			if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", ind) {
				t.Fatalf("%+v, %v", ind, err)
			}
		}
	})
}
