package proc

import (
	"os"
	"testing"
	"time"
)

func TestTheCPUTimeOfThisProcessGrowsWithItsWork(t *testing.T) {
	g, err := GroupOf(os.Getpid(), os.Getpid())
	if err != nil || len(g.leaders) != 1 {
		t.Fatal(g, err)
	}
	before, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	group, err := g.CPU()
	if err != nil || group < before {
		t.Fatalf("the group has %s, this process alone %s, %v", group, before, err)
	}
	const work = 50 * time.Millisecond
	for now := before; now < before+work; {
		if now, err = Self(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := g.CPU()
	if err != nil || after < group+work-time.Millisecond {
		t.Errorf("the group went from %s to %s, %v", group, after, err)
	}
}

func TestAProcessTakesMemory(t *testing.T) {
	g, err := GroupOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Memory()
	if err != nil || m.Resident < 1<<20 || m.Anonymous <= 0 || m.Anonymous > m.Resident {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAGroupThatIsGoneIsAnError(t *testing.T) {
	g := Group{[]int{1 << 30}}
	if _, err := g.CPU(); err == nil {
		t.Error("CPU time of nobody")
	}
	if _, err := g.Memory(); err == nil {
		t.Error("memory of nobody")
	}
}

func TestLinesOfTheKernelAreRead(t *testing.T) {
	ended, err := parseStat([]byte("7 (a) b 9) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 120 35 20 0 9 0 1 2 3"))
	if err != nil || ended != 1550*time.Millisecond {
		t.Error(ended, err)
	}
	if _, err := parseStat([]byte("7 (a) S 1 7")); err == nil {
		t.Error("a line that ends early was read")
	}
	m, err := parseMachine([]byte("cpu  100 1 50 900 7 2 3 40 0 0\ncpu0 1 2 3\n"))
	if err != nil || m.Busy != 1560*time.Millisecond || m.Stolen != 400*time.Millisecond {
		t.Error(m, err)
	}
	if _, err := parseMachine([]byte("intr 1 2")); err == nil {
		t.Error("another line was read")
	}
	if got := kibibytes([]byte("Name:\tx\nVmRSS:\t    12 kB\n"), "VmRSS:"); got != 12<<10 {
		t.Error(got)
	}
}
