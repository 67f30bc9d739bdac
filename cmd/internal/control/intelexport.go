package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/store"
)

func (s *Server) intelExport(ctx context.Context, c *call, st *Stores, in *api.IntelExport) (any, error) {
	f, err := filterOf(in.Source, in.Kind, "", in.Campaign, in.MinConfidence, "")
	if err != nil {
		return nil, err
	}
	if err := sourceKnown(st, in.Source); err != nil {
		return nil, err
	}
	o := export.Options{Format: export.Format(in.Format), Now: time.Now(), Producer: in.Producer, Title: in.Title, Bare: in.Bare}
	if in.Disposition != "" {
		o.Disposition, _ = intel.ParseDisposition(in.Disposition) // the document has the words
	}
	if in.MaxTLP != "" {
		var ok bool
		if o.MaxTLP, ok = intel.ParseTLP(in.MaxTLP); !ok {
			return nil, api.Errorf(api.BadRequest, "max_tlp %.40q is none of clear, green, amber, amber+strict and red", in.MaxTLP)
		}
	}
	w := &stream{c: c, header: map[string]string{"Trailer": api.TrailerExport}}
	entries, err := exported(ctx, st, f, &o)
	if err != nil {
		return nil, err
	}
	report, err := export.Write(w, entries, o)
	if err != nil {
		return nil, err
	}
	if !c.started {
		if _, err := w.Write(nil); err != nil { // an empty document of a format that has no head
			return nil, err
		}
	}
	told, err := json.Marshal(reportTold(&report))
	if err != nil {
		return nil, err
	}
	c.w.Header().Set(api.TrailerExport, string(told))
	return nil, nil
}

// exported gives the indicators that are wanted, and has the export know what is
// allowed all the same: what the lists here overrule, another's filter must not
// block.
func exported(ctx context.Context, st *Stores, f *filter, o *export.Options) (func(yield func(intel.Indicator, error) bool), error) {
	age, err := newAges(st)
	if err != nil {
		return nil, err
	}
	allowed, added := false, time.Time{}
	o.Added = func(*intel.Indicator) time.Time { return added }
	o.Allowed = func(*intel.Indicator) bool { return allowed }
	return func(yield func(intel.Indicator, error) bool) {
		ended := false
		err := st.Lists.Walk(ctx, nil, func(all []store.Addition, _ []byte) bool {
			allowed = excused(all, o.Now)
			for i := range all {
				added = age.added[all[i].Generation]
				if ind := all[i].Indicator; f.wants(ind) && !yield(*ind, nil) {
					ended = true
					return false
				}
			}
			return true
		})
		if err != nil && !ended {
			yield(intel.Indicator{}, err)
		}
	}, nil
}

// excused reports whether an allow holds for all that others say of a pattern.
func excused(all []store.Addition, now time.Time) bool {
	for i := range all {
		ind := all[i].Indicator
		if ind.Disposition == intel.Allow && len(ind.Roles) == 0 && ind.Direction == intel.DirectionAny && (ind.Until.IsZero() || now.Before(ind.Until)) {
			return true
		}
	}
	return false
}

func reportTold(r *export.Report) api.ExportReport {
	told := api.ExportReport{Written: r.Written, Left: []api.ExportTally{}, Lost: []api.ExportTally{}}
	for _, t := range r.Left {
		told.Left = append(told.Left, api.ExportTally{Why: t.Why, Count: t.Count, Example: t.Example})
	}
	for _, t := range r.Lost {
		told.Lost = append(told.Lost, api.ExportTally{Why: t.Why, Count: t.Count, Example: t.Example})
	}
	return told
}
