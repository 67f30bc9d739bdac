package hunt

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// notes writes down places and remembers the last one that was durable.
type notes struct {
	n uint64
}

func (n *notes) options(d *faulty.Disk) *Options {
	return &Options{FS: d, Dir: "/state/hunt", Logger: zap.NewNop()}
}

func (n *notes) Run(d *faulty.Disk) error {
	o := n.options(d)
	if _, err := loadPlace(o); err != nil {
		return err
	}
	for range 3 {
		p := place{Hunted: n.n + 1, Until: time.Unix(int64(n.n), 0).UTC()}
		if err := p.save(o); err != nil {
			return err
		}
		n.n++
	}
	return nil
}

func (n *notes) Check(d *faulty.Disk) error {
	p, err := loadPlace(n.options(d))
	if err == nil && p.Hunted < n.n {
		err = fmt.Errorf("the place is %d, and %d was written", p.Hunted, n.n)
	}
	return err
}

func TestThePlaceSurvivesAPowerCut(t *testing.T) {
	crashtest.Suite{New: func() crashtest.Workload { return &notes{} }}.Test(t)
}

// campaign is a story with everything in it: three changes of the lists, late
// entries, forwards, and forwards that come later. Before each act it asks whether to go on.
func campaign(s *site, act func(name string)) map[string][]string {
	file := "application/pdf " + text("offer")
	old := s.list("list:block/a", "other.example")
	a := s.mail(evil, content("text/plain "+text("a"), file))
	b := s.mail(link("https://worse.example/"))
	c := s.mail(subject("win a prize"))
	f := s.mail(from("alice@here.example"), subject("Fwd: hello"), content("text/plain look", file))
	act("before")
	middle := s.list("list:block/a", "other.example", "evil.example")
	act("one")
	second := "application/zip " + text("second")
	d := s.mail(evil, under(old), content("text/plain "+text("d"), second), to("bob@here.example"))
	f2 := s.mail(from("bob@here.example"), subject("Fwd: hello"), content("text/plain see", second))
	s.list("list:block/a", "other.example", "evil.example", "worse.example", "/a prize/ in=subject campaign=c")
	s.mail(evil, under(middle))
	e := s.mail(link("https://worse.example/"), under(middle))
	act("two")
	g := s.mail(evil, subject("take a prize"), under(old))
	act("late")
	s.later(time.Hour)
	act("after")
	h := s.mail(from("bob@here.example"), to("carl@here.example"), subject("Fwd: hello"), content("text/plain look", second))
	i := s.mail(from("carl@here.example"), to("dora@here.example"), subject("Fwd: hello"), content("text/plain look again", second))
	s.mail(from("bob@here.example"), content("text/plain nothing"))
	act("later")
	k := s.mail(from("dora@here.example"), answering("m11@mail.example"), content("text/plain no"))
	act("last")
	return map[string][]string{evilKey: {a, d, f, f2, g, h, i, k}, "domain|worse.example": {b, e}, "campaign|c": {c, g}}
}

// stride is from one place that something fails at to the next.
func stride() int {
	if testing.Short() {
		return 5
	}
	return 1
}

func TestNothingIsSkippedWhereverTheDeskFails(t *testing.T) {
	for _, done := range []bool{false, true} {
		failed := true
		for n := 0; failed; n += stride() {
			failed = false
			s := newSite(t)
			s.desk.fails, s.desk.left, s.desk.done = true, n, done
			want := campaign(s, func(name string) {
				if err := s.try(); err == nil {
					return
				} else if !errors.Is(err, errDesk) {
					t.Fatal(err)
				}
				failed = true
				s.desk.fails = false
				switch n % 3 {
				case 0:
					s.open() // killed, and started again
				case 1:
					s.hunt = nil // likewise, without a chance to tidy up
				}
				s.work()
			})
			s.want(want)
			if s.hunt.Status().Following || s.hunt.place.Hunted != s.store.Generation() {
				t.Fatalf("call %d: the place is %+v", n, s.hunt.place)
			}
		}
	}
}

func TestNothingIsSkippedWhereverTheDiskFails(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO, faulty.ErrPower} {
		struck := true
		for n := 1; struck; n += stride() {
			struck = false
			s := newSite(t)
			d := faulty.New(s.dir, uint64(n))
			ops := 0
			d.Inject(func(faulty.Op) error {
				if ops++; ops == n {
					struck = true
					return fault
				}
				return nil
			})
			s.options.FS = d
			want := campaign(s, func(string) {
				for range 3 {
					var err error
					if s.hunt == nil {
						s.hunt, err = Open(s.filled())
					}
					if err == nil {
						err = s.try()
					}
					if err == nil {
						return
					}
					if !struck {
						t.Fatal(err)
					}
					if n%2 == 0 {
						s.hunt = nil // started again
					}
				}
				t.Fatal("it does not recover")
			})
			s.want(want)
		}
	}
}

func TestNothingIsSkippedWhereverThePowerIsCut(t *testing.T) {
	cut := true
	for n := 1; cut; n += stride() {
		cut = false
		s := newSite(t)
		d := faulty.New(s.dir, uint64(n))
		d.CutAt(n)
		s.options.FS = d
		want := campaign(s, func(string) {
			err := func() (err error) {
				if s.hunt == nil {
					s.hunt, err = Open(s.filled())
				}
				if err == nil {
					err = s.try()
				}
				return err
			}()
			if err == nil && !d.Dead() {
				return
			}
			cut = true
			d = d.Reboot(faulty.Some)
			s.options.FS, s.hunt = d, nil
			s.work()
		})
		s.want(want)
	}
}

func TestTheSameStoryWithoutFaults(t *testing.T) {
	s := newSite(t)
	told := 0
	want := campaign(s, func(string) {
		s.work()
		told = s.desk.told
		s.work()
		s.open()
		s.work()
	})
	s.want(want)
	if s.desk.told != told {
		t.Errorf("%d matches were told, want %d", s.desk.told, told)
	}
	n := 0
	for _, ids := range want {
		n += len(ids)
	}
	if told > n+2 { // entries before a swap that come late are told by both
		t.Errorf("%d matches were told for %d messages", told, n)
	}
}

func TestAPlaceThatIsLostCostsOnlyWork(t *testing.T) {
	for name, text := range map[string]string{"gone": "", "torn": `{"version":1,"hun`, "of a later version": `{"version":2,"hunted":99999999999}`, "too long": fmt.Sprint(slices.Repeat([]int{1}, maxPlace))} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			want := campaign(s, func(string) {
				s.work()
				d := s.hunt.o.FS
				path := s.dir + "/hunt/" + placeName
				if err := d.Remove(path); err != nil {
					t.Fatal(err)
				}
				if text != "" {
					f, err := d.OpenFile(path, syscall.O_CREAT|syscall.O_RDWR, 0o600)
					if err == nil {
						_, err = f.WriteAt([]byte(text), 0)
					}
					if err = errors.Join(err, f.Close()); err != nil {
						t.Fatal(err)
					}
				}
				s.open()
			})
			s.work()
			s.want(want)
		})
	}
}

func TestListsThatWereBuiltAnewAreHuntedAgainButNotWhatPolicyHadLetPass(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "evil.example", "/hello/ in=subject campaign=c")
	s.work()
	s.mail(evil, subject("hello"), known("list:block/a", "https://evil.example/pay", "1/text"), known("list:block/a", "hello", "header/Subject")) // policy let it pass
	s.later(time.Hour)
	unknown := s.mail(evil, subject("x"), under(1))
	lost := s.mail(link("https://lost.example/"), subject("x"))
	s.openStore()
	s.list("list:block/a", "evil.example", "/hello/ in=subject campaign=c", "lost.example")
	s.open()
	s.work()
	s.want(map[string][]string{evilKey: {unknown}, "domain|lost.example": {lost}})
	if !s.hunt.Status().Last.Everything {
		t.Error("not everything was hunted")
	}
}

func TestListsThatAreOlderThanWhatWasHuntedAreHuntedFromTheBeginning(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "evil.example")
	id := s.mail(evil, under(1))
	s.open()
	s.hunt.place = place{Hunted: s.store.Generation() + 1000}
	s.hunt.looked = s.hunt.place.Hunted
	s.work()
	s.want(map[string][]string{evilKey: {id}})
}

func TestDuplicatesAreNeverTold(t *testing.T) {
	s := newSite(t)
	var all []string
	for i := range 50 {
		all = append(all, s.mail(link(fmt.Sprintf("https://a.evil.example/%d", i)), link("https://b.evil.example/"), from("x@evil.example")))
	}
	s.list("list:block/a", ".evil.example campaign=c", "b.evil.example campaign=c", "x@evil.example campaign=c", "https://a.evil.example/* campaign=c")
	s.work()
	s.want(map[string][]string{"campaign|c": all})
	if s.desk.told != len(all) {
		t.Errorf("%d matches were told for %d messages", s.desk.told, len(all))
	}
}
