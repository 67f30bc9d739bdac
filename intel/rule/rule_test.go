package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

type thing struct {
	Name string   `rule:"name"`
	Size int64    `rule:"size"`
	Tags []string `rule:"tags"`
}

type values map[string]any

func (v values) Value(name string) any { return v[name] }

func testEnv(t testing.TB, cost uint64) *Env {
	t.Helper()
	env, err := NewEnv(Options{CostLimit: cost, Vars: []Var{
		{Name: "direction", Zero: ""},
		{Name: "size", Zero: int64(0)},
		{Name: "local", Zero: false},
		{Name: "things", Zero: []thing(nil)},
		{Name: "one", Zero: thing{}},
		{Name: "header", Zero: map[string][]string(nil)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestConditionsAreDecidedOverDeclaredValues(t *testing.T) {
	env := testEnv(t, 0)
	vals := values{
		"direction": "inbound", "size": int64(2000), "local": false,
		"things": []thing{{Name: "a.exe", Size: 10, Tags: []string{"x"}}, {Name: "b.txt"}},
		"one":    thing{Name: "one", Tags: []string{"vip", "finance"}},
		"header": map[string][]string{"x-mailer": {"Evil 1.0"}},
	}
	for expr, want := range map[string]bool{
		`direction == "inbound"`: true,
		`size > 5000 || local`:   false,
		`things.exists(p, p.name.endsWith(".exe") && p.size < 100)`:      true,
		`things.all(p, size(p.tags) > 0)`:                                false,
		`"vip" in one.tags`:                                              true,
		`"x-mailer" in header && header["x-mailer"][0].matches("^Evil")`: true,
		`one.name.lowerAscii() == "one"`:                                 true,
		`size(things) == 2`:                                              true,
	} {
		p, err := env.Compile(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := p.Eval(vals); err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", expr, got, err, want)
		}
	}
}

func TestFaultsAreNamedWithTheirPlace(t *testing.T) {
	env := testEnv(t, 0)
	for expr, want := range map[string]string{
		`direktion == "inbound"`:         `1:1 nothing is called "direktion"`,
		`things.exists(p, p.nam == "x")`: `1:19 there is no field "nam"`,
		"size > 1 &&\n size == \"x\"":    `2:7 `,
		`size`:                           `gives a int`,
		`direction.matches("(")`:         `1:19 invalid matches argument`,
		`size > `:                        `1:8 `,
	} {
		_, err := env.Compile(expr)
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("%s: no *Error: %v", expr, err)
			continue
		}
		if got := fmt.Sprintf("%d:%d %s", fault.Line, fault.Column, fault.Text); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", expr, got, want)
		}
	}
}

func TestAnEvaluationOverItsLimitFails(t *testing.T) {
	env := testEnv(t, 1000)
	p, err := env.Compile(`things.all(a, things.all(b, a.name == b.name))`)
	if err != nil {
		t.Fatal(err)
	}
	many := values{"things": make([]thing, 1000)}
	if _, err := p.Eval(many); !errors.Is(err, ErrCost) {
		t.Fatalf("got %v, want ErrCost", err)
	}
	if ok, err := p.Eval(values{"things": make([]thing, 3)}); err != nil || !ok {
		t.Fatalf("a small one: %v, %v", ok, err)
	}
}

func TestAConditionThatFailsOnItsValuesSaysSo(t *testing.T) {
	env := testEnv(t, 0)
	p, err := env.Compile(`things[0].name == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(values{"things": []thing{}}); err == nil {
		t.Fatal("the first of none was taken")
	}
}

func TestOnlyVariablesInUseAreNamed(t *testing.T) {
	p, err := testEnv(t, 0).Compile(`things.exists(one2, one2.name == direction)`)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Uses("things") || !p.Uses("direction") || p.Uses("one") || p.Uses("size") {
		t.Fatalf("uses %v", p.uses)
	}
}

func BenchmarkEval(b *testing.B) {
	env := testEnv(b, 0)
	for name, expr := range map[string]string{
		"compare":     `direction == "inbound"`,
		"exists-none": `things.exists(p, p.name == "x")`,
	} {
		p, err := env.Compile(expr)
		if err != nil {
			b.Fatal(err)
		}
		vals := values{"direction": "inbound", "things": []thing(nil)}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Eval(vals); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
