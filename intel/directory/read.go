package directory

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
)

// Options says how a directory file is read. Zero numbers take the defaults
// named with them.
type Options struct {
	// File is the name that problems carry.
	File string
	// Delimiters are the characters that part a local part from its extension,
	// as Postfix's recipient_delimiter has them ("+", "+-"); empty: none does.
	Delimiters string

	MaxBytes    int64 // of the file; 64 MiB
	MaxPeople   int   // entries; 1 000 000
	MaxProblems int   // reported; 100
}

func (o Options) withDefaults() (Options, error) {
	if o.MaxBytes < 0 || o.MaxPeople < 0 || o.MaxProblems < 0 {
		return o, errors.New("directory: a negative limit")
	}
	if i := strings.IndexFunc(o.Delimiters, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '@' || r == '"' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}); i >= 0 {
		return o, fmt.Errorf("directory: %q cannot delimit an address extension", o.Delimiters[i:])
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxPeople == 0 {
		o.MaxPeople = 1_000_000
	}
	if o.MaxProblems == 0 {
		o.MaxProblems = 100
	}
	return o, nil
}

// Load reads the directory file at path. Its errors are those of Read, and
// those of opening and reading the file.
func Load(path string, o Options) (*Directory, error) {
	f, _, err := disk.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if o.File == "" {
		o.File = path
	}
	return Read(f, o)
}

// Read reads a directory file to its end. A file that is not as the package
// comment says gives Problems; anything else is an unusable Options or a
// reader's own error.
func Read(r io.Reader, o Options) (*Directory, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, o.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("directory: reading %s: %w", o.File, err)
	}
	rd := reader{opts: o, dir: &Directory{
		byAddress:  map[string]*Person{},
		byDomain:   map[string]*Person{},
		delimiters: o.Delimiters,
	}, lineOf: map[*Person]int{}}
	if int64(len(data)) > o.MaxBytes {
		rd.report(0, 0, "", fmt.Sprintf("is larger than %d bytes", o.MaxBytes), "")
		return nil, rd.problems
	}
	rd.read(data)
	if len(rd.problems) > 0 {
		return nil, rd.problems
	}
	rd.dir.groups = collectGroups(rd.dir.people)
	return rd.dir, nil
}

// column is one of the columns that a file may have.
type column int

const (
	colAddress column = iota
	colName
	colGroups
	colVIP
	colMailbox
)

const columnNames = "address, name, groups, vip, mailbox"

func columnByName(name string) (column, bool) {
	i := slices.Index(strings.Split(columnNames, ", "), strings.ToLower(name))
	return column(i), i >= 0
}

// reader is the state of reading one file.
type reader struct {
	opts     Options
	dir      *Directory
	lineOf   map[*Person]int
	columns  []column // by position; nil until the header was read
	problems Problems
	csv      *csv.Reader
}

// report notes a problem and says whether there is room for more.
func (rd *reader) report(line, col int, value, reason, cure string) {
	if rd.full() {
		return
	}
	rd.problems = append(rd.problems, Problem{
		File: rd.opts.File, Line: line, Column: col, Value: shorten(value), Reason: reason, Cure: cure,
	})
}

func (rd *reader) full() bool { return len(rd.problems) >= rd.opts.MaxProblems }

// reportField notes a problem with the field at position i of the current record.
func (rd *reader) reportField(i int, value, reason, cure string) {
	line, col := rd.csv.FieldPos(i)
	rd.report(line, col, value, reason, cure)
}

func (rd *reader) read(data []byte) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		rd.report(1, 1, "", "is UTF-16", "save it as UTF-8")
		return
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	rd.csv = csv.NewReader(bytes.NewReader(data))
	rd.csv.Comma = delimiter(data)
	rd.csv.Comment = '#'
	rd.csv.FieldsPerRecord = -1
	rd.csv.ReuseRecord = true
	for !rd.full() {
		record, err := rd.csv.Read()
		if err == io.EOF {
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			rd.report(syntax.Line, syntax.Column, "", quoteProblem(syntax.Err), "put a field that has quotes between quotes, and double those inside it")
			continue
		}
		if skip(record) {
			continue
		}
		if rd.columns == nil {
			if !rd.header(record) {
				return // no line below can be understood
			}
			continue
		}
		rd.person(record)
	}
	if rd.columns == nil && len(rd.problems) == 0 {
		rd.report(0, 0, "", "has no line that names the columns", "begin it with: address,name,groups,vip,mailbox")
	}
}

// delimiter looks at the first line that is neither empty nor a comment.
func delimiter(data []byte) rune {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if bytes.Count(line, []byte(";")) > bytes.Count(line, []byte(",")) {
			return ';'
		}
		break
	}
	return ','
}

// skip reports whether a record is an indented comment or holds nothing.
func skip(record []string) bool {
	if strings.HasPrefix(strings.TrimSpace(record[0]), "#") {
		return true
	}
	return !slices.ContainsFunc(record, func(field string) bool { return strings.TrimSpace(field) != "" })
}

func quoteProblem(err error) string {
	if errors.Is(err, csv.ErrBareQuote) {
		return "has a quote inside a field that does not begin with one"
	}
	return "has a quoted field that does not end as it should"
}

func (rd *reader) header(record []string) bool {
	seen := map[column]bool{}
	for i, field := range record {
		name := strings.TrimSpace(field)
		c, ok := columnByName(name)
		switch {
		case !ok && name == "":
			rd.reportField(i, "", "is a column without a name", "name it, or remove it from every line; columns are "+columnNames)
		case !ok:
			rd.reportField(i, name, "is no column", "columns are "+columnNames+"; the first line has to name them")
		case seen[c]:
			rd.reportField(i, name, "is named twice", "remove one of the two columns")
		}
		seen[c] = true
		rd.columns = append(rd.columns, c)
	}
	if len(rd.problems) == 0 && !seen[colAddress] {
		rd.reportField(0, "", "no column is called address", "columns are "+columnNames)
	}
	return len(rd.problems) == 0
}

// person reads one line below the header.
func (rd *reader) person(record []string) {
	if len(record) != len(rd.columns) {
		rd.reportField(0, "", fmt.Sprintf("has %d fields where the first line has %d", len(record), len(rd.columns)), "leave a field empty where there is nothing to say; quote a field that holds the delimiter")
		return
	}
	if rd.dir.Len() >= rd.opts.MaxPeople {
		rd.reportField(0, "", fmt.Sprintf("is more than %d entries", rd.opts.MaxPeople), "")
		rd.opts.MaxProblems = len(rd.problems) // the lines below are all the same problem
		return
	}
	p := &Person{}
	line, _ := rd.csv.FieldPos(0)
	rd.lineOf[p] = line
	rd.dir.people = append(rd.dir.people, p)
	for i, field := range record {
		field = strings.TrimSpace(field)
		if why := unreadable(field); why != "" {
			rd.reportField(i, field, why, "remove it")
			continue
		}
		switch rd.columns[i] {
		case colAddress:
			rd.addresses(p, i, field)
		case colName:
			p.Name = strings.Clone(field)
		case colGroups:
			p.Groups = groups(field)
		case colMailbox:
			p.Mailbox = strings.Clone(field)
		case colVIP:
			yes, ok := truth(field)
			if !ok {
				rd.reportField(i, field, "is neither yes nor no", "write yes or no; empty means no")
			}
			p.VIP = yes
		}
	}
}

// unreadable says what in a field no field can hold.
func unreadable(field string) string {
	if !utf8.ValidString(field) {
		return "is not UTF-8"
	}
	if strings.ContainsFunc(field, unicode.IsControl) {
		return "has a control character or a line break"
	}
	return ""
}

// addresses gives p the addresses and whole domains that the field names.
func (rd *reader) addresses(p *Person, i int, field string) {
	texts := strings.FieldsFunc(field, isSeparator)
	if len(texts) == 0 {
		rd.reportField(i, field, "names no address", "write one, or remove the line")
	}
	for _, text := range texts {
		where, key := rd.dir.byAddress, ""
		if domain, whole := strings.CutPrefix(text, "@"); whole {
			v, err := intel.Domain(domain)
			if err != nil {
				rd.reportField(i, text, reason(err), "write a whole domain as @example.org")
				continue
			}
			where, key = rd.dir.byDomain, v.String()
		} else {
			v, err := intel.Address(text)
			if err == nil && v == intel.NullSender() {
				err = errors.New("is nobody's address")
			}
			if err != nil {
				rd.reportField(i, text, reason(err), "write addresses as local@example.org, without names")
				continue
			}
			key = v.String()
			if where[key] != p {
				p.Addresses = append(p.Addresses, key)
			}
		}
		if other := where[key]; other != nil && other != p {
			rd.reportField(i, text, fmt.Sprintf("belongs to line %d already", rd.lineOf[other]), "leave it in one of the two")
			continue
		}
		where[key] = p
	}
}

func isSeparator(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) }

// groups gives the sorted, distinct, lower-case names in the field.
func groups(field string) []string {
	names := strings.FieldsFunc(strings.ToLower(field), isSeparator)
	slices.Sort(names)
	return slices.Compact(names)
}

func truth(field string) (yes, ok bool) {
	switch strings.ToLower(field) {
	case "yes", "true", "1", "x":
		return true, true
	case "no", "false", "0", "":
		return false, true
	}
	return false, false
}

// reason gives what a constructor of package intel says is wrong, without the
// value, which the problem names itself.
func reason(err error) string {
	var invalid *intel.ValueError
	if errors.As(err, &invalid) {
		return invalid.Why
	}
	return err.Error()
}

// shorten cuts a value that a stranger may have made long.
func shorten(value string) string {
	const most = 80
	if len(value) <= most {
		return strings.Clone(value)
	}
	return strings.ToValidUTF8(value[:most], "") + "…"
}
