package account

import (
	"bytes"
	"context"
	"image/png"
	"net/netip"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"gantry/server/broker"
)

const (
	// codePeriod and codeDigits are what authenticator apps take for granted (RFC 6238, section 4).
	codePeriod = 30 * time.Second
	codeDigits = otp.DigitsSix
	// codeSkew is how many time steps a device's clock may be off.
	codeSkew = 1
	// codePicture is the edge of the picture in pixels.
	codePicture = 220
	issuer      = "Gantry"
)

// SecondFactor is what an authenticator app has to be told.
type SecondFactor struct {
	Secret string // base32
	URI    string // otpauth://…
	// Picture is a PNG of the URI as QR code.
	Picture []byte
}

// NewSecondFactor makes one that is not in force: see EnableSecondFactor.
func (s *Service) NewSecondFactor(admin *broker.Admin) (SecondFactor, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: admin.Username, Digits: codeDigits})
	if err != nil {
		return SecondFactor{}, broker.Wrap(err, "make a second factor")
	}
	picture, err := key.Image(codePicture, codePicture)
	if err != nil {
		return SecondFactor{}, broker.Wrap(err, "draw a second factor")
	}
	var file bytes.Buffer
	if err := png.Encode(&file, picture); err != nil {
		return SecondFactor{}, broker.Wrap(err, "draw a second factor")
	}
	return SecondFactor{Secret: key.Secret(), URI: key.URL(), Picture: file.Bytes()}, nil
}

// EnableSecondFactor asks for codes of secret from now on. password is the admin's own, and code proves that the device has the
// secret; sessions go on.
func (s *Service) EnableSecondFactor(ctx context.Context, admin int64, secret, code, password string, address netip.Addr) error {
	step, valid := stepOf(secret, code, s.now())
	if !valid {
		return wrongCode(broker.ReasonWrongCode)
	}
	return s.changeOwn(ctx, admin, password, address, func(fresh *broker.Admin) {
		fresh.TOTPSecret, fresh.TOTPStep = secret, step
	})
}

// DisableSecondFactor asks for no code any more.
func (s *Service) DisableSecondFactor(ctx context.Context, admin int64, password string, address netip.Addr) error {
	return s.changeOwn(ctx, admin, password, address, func(fresh *broker.Admin) { fresh.TOTPSecret, fresh.TOTPStep = "", 0 })
}

// stepOf gives the time step whose code this is.
func stepOf(secret, code string, now time.Time) (step int64, valid bool) {
	present := now.Unix() / int64(codePeriod/time.Second)
	for _, candidate := range []int64{present, present - codeSkew, present + codeSkew} {
		fits, err := hotp.ValidateCustom(code, uint64(candidate), secret, hotp.ValidateOpts{Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
		if err == nil && fits {
			return candidate, true
		}
	}
	return 0, false
}

// checkCode looks at the code of a login; the step has to be stored then.
func (s *Service) checkCode(admin *broker.Admin, code string) (step int64, err error) {
	if admin.TOTPSecret == "" {
		return 0, nil
	}
	if code == "" {
		return 0, wrongCode(broker.ReasonCodeRequired)
	}
	step, valid := stepOf(admin.TOTPSecret, code, s.now())
	if !valid || step <= admin.TOTPStep {
		return 0, wrongCode(broker.ReasonWrongCode)
	}
	return step, nil
}

// wrongCode names the field, so that a form can ask for it.
func wrongCode(reason broker.Reason) error {
	failure := broker.Because(broker.Invalid, reason)
	failure.Field = "code"
	return failure
}
