package message

import (
	"strconv"
	"strings"

	"github.com/weirmail/weir/filter/message/archive"
)

// fileNumber makes the number of the n-th file in the archive that has the
// number path, or of a second reading of it.
func fileNumber(path string, n int, second bool) string {
	path += "/" + strconv.Itoa(n)
	if second {
		path += "~2"
	}
	return path
}

// ratioFree is how much every archived file may unpack to, whatever its ratio.
const ratioFree = 1 << 20

// slowFactor is what a byte counts for that unpacks slowly.
const slowFactor = 8

// bounded gives an archived file's content within the limits.
type bounded struct {
	*archive.File
	s     *state
	left  int64 // that the file may still unpack to by its ratio
	ratio bool  // it would unpack to more
	bytes bool  // so would all archives together
}

func (b *bounded) Next(buf []byte) []byte {
	block := b.File.Next(buf)
	cost := int64(len(block))
	b.left -= cost
	if b.Slow {
		cost *= slowFactor
	}
	b.s.archiveLeft -= cost
	b.ratio, b.bytes = b.left < 0, b.s.archiveLeft < 0
	if b.ratio || b.bytes {
		return nil
	}
	return block
}

// archive gives the files in an archive as parts.
func (s *state) archive(i int, kind archive.Kind, data []byte) {
	path := s.parts[i].Path
	if s.parts[i].Depth >= s.limits.Depth {
		s.defect(DefectDepthLimit, path, "")
		return
	}
	// Where another archive stood before a zip, the numbers go on behind its files.
	known, after := len(s.parts), 0
	for n := range s.parts {
		if s.parts[n].Parent == i {
			after++
		}
	}
	office := kind == archive.Zip && isOffice(&s.parts[i])
	flaws := archive.Walk(kind, data, s.limits.ArchiveFiles, func(f *archive.File) bool {
		if office && extension(f.Name) == "xml" {
			return true
		}
		f.Index += after
		return s.archived(i, path, kind, f)
	})
	if flaws&archive.FlawDirectory != 0 && len(s.parts) == known && archive.Sniff(data) != kind {
		return // it was called a zip and is none
	}
	for _, f := range [...]struct {
		flaw archive.Flaw
		name string
	}{
		{archive.FlawDirectory, DefectArchiveDirectory}, {archive.FlawPrefix, DefectArchivePrefix},
		{archive.FlawOverlap, DefectArchiveOverlap}, {archive.FlawLimit, DefectArchiveFiles},
	} {
		if flaws&f.flaw != 0 {
			s.defect(f.name, path, "")
		}
	}
}

// isOffice reports whether a zip is an office document (ECMA-376, ODF). Its XML
// is not listed: every document has other bytes there, so that no digest of
// them ever means anything, and there may be hundreds of files.
func isOffice(p *Part) bool {
	return isOfficeExtension(extension(p.Name)) ||
		strings.HasPrefix(p.Detected, "application/vnd.openxmlformats-officedocument") ||
		strings.HasPrefix(p.Detected, "application/vnd.oasis.opendocument")
}

func isOfficeExtension(ext string) bool {
	switch ext {
	case "docx", "docm", "dotx", "dotm", "xlsx", "xlsm", "xlsb", "pptx", "pptm", "ppsx", "odt", "ods", "odp":
		return true
	}
	return false
}

// archived adds a file in the archive that is part i. It gives false if no
// more of them can be taken.
func (s *state) archived(i int, path string, kind archive.Kind, f *archive.File) bool {
	if s.full() {
		return false
	}
	number := fileNumber(path, f.Index, f.Local)
	if s.archiveLeft < 0 {
		s.defect(DefectArchiveBytes, number, "")
		return false
	}
	s.parts[i].Container = true
	name, nameFlaws := cleanName(f.Name)
	if name == "" {
		name = s.nameWithin(i, kind)
	}
	p := Part{
		Path: number, Type: typeBinary, Name: name, Parent: i, Depth: s.parts[i].Depth + 1,
		Archived: true, Alternate: f.Local, Encrypted: f.Encrypted,
	}
	if other, flaws := cleanName(f.OtherName); other != "" {
		p.OtherNames = []string{other}
		nameFlaws |= flaws
	}
	s.nameDefects(nameFlaws, number, append([]string{name}, p.OtherNames...))
	j := s.add(p)
	if f.Encrypted {
		s.defect(DefectArchiveEncrypted, number, "")
	} else if f.Flaws&archive.FlawMethod == 0 {
		s.unpack(j, number, f)
	}
	for _, d := range [...]struct {
		flaw archive.Flaw
		name string
	}{
		{archive.FlawHidden, DefectArchiveHidden}, {archive.FlawMismatch, DefectArchiveMismatch},
		{archive.FlawMethod, DefectArchiveMethod}, {archive.FlawDamaged, DefectArchiveDamaged},
	} {
		if f.Flaws&d.flaw != 0 {
			s.defect(d.name, number, excerpt(name))
		}
	}
	return true
}

// nameWithin gives the name of the file without one that is in the archive of
// this kind that is part i.
func (s *state) nameWithin(i int, kind archive.Kind) string {
	p := &s.parts[i]
	name, ext := p.Name, extension(p.Name)
	if ext != "" {
		name = strings.TrimRight(name, ". ")
		name = name[:len(name)-len(ext)-1]
	}
	switch kind {
	case archive.Gzip, archive.Bzip2:
		return name
	case archive.CMS:
		if ext != "p7m" || extension(name) == "" || strings.HasSuffix(p.Type, "pkcs7-mime") {
			return "smime.eml" // what was signed is a message, or part of one
		}
		return name
	}
	return ""
}

// unpack reads the content of the archived file that is part j.
func (s *state) unpack(j int, number string, f *archive.File) {
	b := &bounded{File: f, s: s, left: ratioFree + f.Packed*int64(s.limits.ArchiveRatio)}
	whole, _ := f.Stored()
	s.read(j, flow{source: b, size: int(f.Packed), whole: whole}, &content{kind: typeBinary}, false)
	if !b.ratio && !b.bytes {
		return
	}
	p := &s.parts[j]
	p.SHA256, p.SHA1, p.MD5 = [32]byte{}, [20]byte{}, [16]byte{}
	if b.ratio {
		s.defect(DefectArchiveRatio, number, "")
	}
	if b.bytes {
		s.defect(DefectArchiveBytes, number, "")
	}
}
