package control

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestNoMoreBytesAreLetInThanThereIsRoomFor(t *testing.T) {
	g := newGate(10)
	var inside atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			size := int64(i%12 + 1)
			leave, err := g.enter(context.Background(), size)
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(min(size, 10)); n > 10 {
				t.Errorf("%d bytes at once", n)
			}
			inside.Add(-min(size, 10))
			leave()
		})
	}
	wg.Wait()
	if g.used != 0 || len(g.queue) != 0 {
		t.Errorf("%d bytes are still inside, %d wait", g.used, len(g.queue))
	}
}

func TestWhoGivesUpWaitingLetsTheNextOneIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10)
		leave, err := g.enter(context.Background(), 6)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		large := make(chan error, 1)
		go func() {
			_, err := g.enter(ctx, 8)
			large <- err
		}()
		synctest.Wait()
		small := make(chan func(), 1)
		go func() {
			leave, _ := g.enter(context.Background(), 2)
			small <- leave
		}()
		synctest.Wait()
		select {
		case <-small:
			t.Fatal("the small one overtook the large one, who would wait for ever")
		default:
		}
		cancel()
		if err := <-large; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		(<-small)()
		leave()
		if g.used != 0 {
			t.Errorf("%d bytes are still inside", g.used)
		}
	})
}
