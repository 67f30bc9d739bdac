package delivery

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// record is what is written at once: events, and the place in their source that
// is behind them. The numbers of the keys, here and in logline.Event, are the
// format: append, never reuse.
type record struct {
	Version int             `cbor:"0,keyasint"`
	At      int64           `cbor:"1,keyasint"` // when it was recorded, seconds since 1970
	Source  string          `cbor:"2,keyasint"`
	After   []byte          `cbor:"3,keyasint"`
	Events  []logline.Event `cbor:"4,keyasint,omitempty"`
}

const recordVersion = 1

// errRecord says that a record is none that this version can read.
var errRecord = errors.New("not a record of deliveries")

// codec encodes and decodes. It is safe for use by many goroutines.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() (*codec, error) {
	// A stranger's text need not be UTF-8, as CBOR's text has to be.
	enc, err := cbor.EncOptions{String: cbor.StringToByteString, Time: cbor.TimeUnixMicro}.EncMode()
	if err != nil {
		return nil, err
	}
	dec, err := cbor.DecOptions{ByteStringToString: cbor.ByteStringToStringAllowed, MaxArrayElements: 1 << 20, MaxMapPairs: 64, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
}

func (c *codec) decode(payload []byte) (*record, error) {
	var r record
	if err := c.dec.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if r.Version < 1 || r.Version > recordVersion {
		return nil, fmt.Errorf("%w: version %d, this Weir reads up to %d", errRecord, r.Version, recordVersion)
	}
	return &r, nil
}
