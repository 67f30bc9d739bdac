package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/share"
)

// Shared knows what is published to peers; *share.Share does.
type Shared interface {
	List(before int64, limit int, all bool) (found []share.Published, more bool, err error)
	Withheld(after string, limit int) (found []share.Withheld, more bool)
}

const sharedLimit = 100 // of a page that names none

func (s *Server) shared(_ context.Context, _ *call, st *Stores, in *api.SharedQuery) (any, error) {
	before, err := strconv.ParseInt(cmp.Or(in.Before, "0"), 10, 64)
	if err != nil || before < 0 {
		return nil, api.Errorf(api.BadRequest, "%.40q is not the next of a page", in.Before)
	}
	found, more, err := st.Share.List(before, cmp.Or(in.Limit, sharedLimit), in.All)
	if err != nil {
		return nil, err
	}
	page := api.SharedPage{Indicators: []api.SharedIndicator{}}
	for i := range found {
		p := &found[i]
		page.Indicators = append(page.Indicators, api.SharedIndicator{
			Kind: p.Pattern.Kind().String(), Value: p.Pattern.String(), TLP: p.TLP, Confidence: p.Confidence, Since: p.Since, Changed: p.Changed,
			Until: p.Until, Revoked: p.Revoked, Grounds: all(p.Grounds), Object: p.Object,
		})
		if more {
			page.Next = strconv.FormatInt(p.Place(), 10)
		}
	}
	return page, nil
}

func (s *Server) withheld(_ context.Context, _ *call, st *Stores, in *api.WithheldQuery) (any, error) {
	found, more := st.Share.Withheld(in.After, cmp.Or(in.Limit, sharedLimit))
	page := api.WithheldPage{Indicators: []api.WithheldIndicator{}}
	for _, w := range found {
		page.Indicators = append(page.Indicators, api.WithheldIndicator{
			Kind: w.Pattern.Kind().String(), Value: w.Pattern.String(), Why: w.Why, Grounds: all(w.Grounds),
		})
		if more {
			page.Next = w.Pattern.Name()
		}
	}
	return page, nil
}

// ShareStatus gives what is published, as the socket tells it.
func ShareStatus(listen string, s share.Status) api.ShareStatus {
	told := api.ShareStatus{Listen: listen, Published: s.Published, Revoked: s.Revoked, Withheld: []api.Withheld{}, Peers: []api.SharePeer{}}
	for _, why := range slices.Sorted(maps.Keys(s.Withheld)) {
		told.Withheld = append(told.Withheld, api.Withheld{Why: why, Count: s.Withheld[why]})
	}
	for _, p := range s.Peers {
		told.Peers = append(told.Peers, api.SharePeer(p))
	}
	return told
}
