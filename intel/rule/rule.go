// Package rule compiles and evaluates conditions written in CEL, the Common
// Expression Language: typed when they are loaded, without loops or side
// effects, and with a bound on what one evaluation may cost.
//
// It knows nothing of mail. Whoever uses it declares the variables that a
// condition can speak of, and gives their values when one is evaluated.
package rule

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// DefaultCostLimit bounds one evaluation where Options set no other. CEL counts
// about one unit a step; a walk over 2 000 parts with three comparisons each
// costs some 20 000.
const DefaultCostLimit = 1_000_000

// maxExpression bounds the text of one condition, in bytes.
const maxExpression = 16 << 10

// ErrCost is wrapped by the error of an evaluation that went over its limit.
var ErrCost = errors.New("the condition costs more than its limit")

// Var is a name that conditions can use.
type Var struct {
	Name string
	Zero any    // a value of its Go type; structs become types whose fields carry a rule:"name" tag
	Doc  string // one sentence
}

// Options says what an Env knows.
type Options struct {
	Vars      []Var
	CostLimit uint64 // of one evaluation; 0 means DefaultCostLimit
}

// Env is the set of variables that conditions are written against. It is
// immutable and safe for use by many goroutines.
type Env struct {
	cel  *cel.Env
	vars []Var
	cost uint64
}

// NewEnv declares the variables. It fails on a variable of a type that CEL
// cannot hold and on a name that is there twice.
func NewEnv(o Options) (*Env, error) {
	if o.CostLimit == 0 {
		o.CostLimit = DefaultCostLimit
	}
	opts := []cel.EnvOption{
		ext.Strings(),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.RegexProgramSizeLimit(10_000),
		cel.ASTValidators(cel.ValidateRegexLiterals()),
	}
	seen := map[string]bool{}
	structs := map[reflect.Type]bool{}
	var variables []cel.EnvOption
	for _, v := range o.Vars {
		if seen[v.Name] {
			return nil, fmt.Errorf("rule: variable %s is declared twice", v.Name)
		}
		seen[v.Name] = true
		t, err := celType(reflect.TypeOf(v.Zero), structs)
		if err != nil {
			return nil, fmt.Errorf("rule: variable %s: %w", v.Name, err)
		}
		variables = append(variables, cel.Variable(v.Name, t))
	}
	native := []any{ext.ParseStructTag("rule")}
	for t := range structs {
		native = append(native, t)
	}
	opts = append(opts, ext.NativeTypes(native...))
	env, err := cel.NewEnv(append(opts, variables...)...)
	if err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	return &Env{cel: env, vars: o.Vars, cost: o.CostLimit}, nil
}

// Vars lists the declared variables, for documentation.
func (e *Env) Vars() []Var { return e.vars }

func celType(t reflect.Type, structs map[reflect.Type]bool) (*cel.Type, error) {
	switch t.Kind() {
	case reflect.String:
		return cel.StringType, nil
	case reflect.Bool:
		return cel.BoolType, nil
	case reflect.Int, reflect.Int64:
		return cel.IntType, nil
	case reflect.Slice:
		elem, err := celType(t.Elem(), structs)
		if err != nil {
			return nil, err
		}
		return cel.ListType(elem), nil
	case reflect.Map:
		key, err := celType(t.Key(), structs)
		if err != nil {
			return nil, err
		}
		elem, err := celType(t.Elem(), structs)
		if err != nil {
			return nil, err
		}
		return cel.MapType(key, elem), nil
	case reflect.Struct:
		if !structs[t] {
			structs[t] = true
			for i := range t.NumField() {
				if _, err := celType(t.Field(i).Type, structs); err != nil {
					return nil, fmt.Errorf("field %s: %w", t.Field(i).Name, err)
				}
			}
		}
		return cel.ObjectType(t.String()), nil
	}
	return nil, fmt.Errorf("conditions cannot hold a Go %s", t)
}

// Error is one fault in a condition.
type Error struct {
	Line   int // in the condition, from 1
	Column int // from 1, in characters
	Text   string
}

func (e *Error) Error() string { return e.Text }

// Program is a compiled condition, safe for use by many goroutines.
type Program struct {
	expr    string
	program cel.Program
	uses    map[string]bool
}

// Compile checks that expr is a condition: that it can be parsed, that it uses
// declared variables and fields as their types allow, and that it gives a
// bool. Each fault is an *Error, all of them joined.
func (e *Env) Compile(expr string) (*Program, error) {
	checked, issues := e.cel.Compile(expr)
	if issues != nil && issues.Err() != nil {
		var faults []error
		for _, fault := range issues.Errors() {
			faults = append(faults, &Error{
				Line:   fault.Location.Line(),
				Column: fault.Location.Column() + 1,
				Text:   plainFault(fault.Message),
			})
		}
		return nil, errors.Join(faults...)
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("gives a %s, a condition has to give true or false", cel.FormatCELType(t))}
	}
	// Constant regular expressions are compiled once, here.
	program, err := e.cel.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(e.cost))
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Text: err.Error()}
	}
	return &Program{expr: expr, program: program, uses: e.variablesIn(checked)}, nil
}

// plainFault says in a policy author's words what the checker says in CEL's.
func plainFault(s string) string {
	if name, ok := strings.CutPrefix(s, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		return fmt.Sprintf("nothing is called %q here", name)
	}
	if name, ok := strings.CutPrefix(s, "undefined field '"); ok {
		return fmt.Sprintf("there is no field %q in it", strings.TrimSuffix(name, "'"))
	}
	return s
}

func (e *Env) variablesIn(checked *cel.Ast) map[string]bool {
	declared := map[string]bool{}
	for _, v := range e.vars {
		declared[v.Name] = true
	}
	uses := map[string]bool{}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind && declared[x.AsIdent()] {
			uses[x.AsIdent()] = true
		}
	}))
	return uses
}

// Expr gives the condition as it was written.
func (p *Program) Expr() string { return p.expr }

// Uses reports whether the condition speaks of the variable.
func (p *Program) Uses(name string) bool { return p.uses[name] }

// UsesOnly reports whether the condition speaks of these variables at most.
func (p *Program) UsesOnly(names ...string) bool {
	for name := range p.uses {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

// Values gives the variables' values. Only those are asked for that the
// evaluation comes to, so an expensive one may be made on the spot.
type Values interface {
	// Value gives the value of a declared variable, of its declared Go type.
	Value(name string) any
}

type activation struct{ values Values }

func (a activation) ResolveName(name string) (any, bool) {
	v := a.values.Value(name)
	return v, v != nil
}

func (a activation) Parent() cel.Activation { return nil }

// Eval decides the condition. It fails when the condition goes over its cost
// limit (ErrCost) or does what its values do not allow, such as taking the
// first of none.
func (p *Program) Eval(values Values) (bool, error) {
	out, _, err := p.program.Eval(activation{values})
	if err != nil {
		if strings.Contains(err.Error(), "cost limit") {
			return false, fmt.Errorf("%w: %w", ErrCost, err)
		}
		return false, err
	}
	return out == types.True, nil
}
