package account_test

import (
	"encoding/base32"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gantry/server/broker"
)

func TestChangePassword(t *testing.T) {
	f := open(t)
	username, old, token := f.login(t)
	admin, err := f.AuthenticateAdmin(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if !admin.InitialPassword() {
		t.Error("the first password does not count as initial")
	}
	_, err = f.ChangePassword(t.Context(), admin.ID, "not "+old, "correct horse", home)
	wantReason(t, err, broker.ReasonWrongPassword)
	_, err = f.ChangePassword(t.Context(), admin.ID, old, "short", home)
	wantKind(t, err, broker.Invalid)
	_, err = f.ChangePassword(t.Context(), admin.ID, old, old, home)
	wantKind(t, err, broker.Invalid)
	session, err := f.ChangePassword(t.Context(), admin.ID, old, "correct horse", home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AuthenticateAdmin(t.Context(), token); err == nil {
		t.Error("the old session goes on")
	}
	changed, err := f.AuthenticateAdmin(t.Context(), session.Token)
	if err != nil || changed.InitialPassword() {
		t.Errorf("the new session: %v, initial %v", err, changed != nil && changed.InitialPassword())
	}
	_, err = f.Login(t.Context(), username, old, "", home)
	wantKind(t, err, broker.Unauthenticated)
}

func TestGuessingThePasswordOfASessionIsThrottled(t *testing.T) {
	f := open(t)
	_, old, token := f.login(t)
	admin, err := f.AuthenticateAdmin(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, err = f.ChangePassword(t.Context(), admin.ID, "a guess", "correct horse", home)
		wantReason(t, err, broker.ReasonWrongPassword)
	}
	_, err = f.ChangePassword(t.Context(), admin.ID, old, "correct horse", home)
	wantKind(t, err, broker.Busy)
}

func TestSecondFactor(t *testing.T) {
	f := open(t)
	username, password, token := f.login(t)
	admin, err := f.AuthenticateAdmin(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	factor, err := f.NewSecondFactor(admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(factor.Secret); err != nil || len(factor.Picture) == 0 {
		t.Errorf("secret %q: %v, picture of %d bytes", factor.Secret, err, len(factor.Picture))
	}
	code := func() string {
		text, err := totp.GenerateCode(factor.Secret, f.now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	wantReason(t, f.EnableSecondFactor(t.Context(), admin.ID, factor.Secret, "000000", password, home), broker.ReasonWrongCode)
	wantReason(t, f.EnableSecondFactor(t.Context(), admin.ID, factor.Secret, code(), "wrong password", home), broker.ReasonWrongPassword)
	if _, err := f.Login(t.Context(), username, password, "", home); err != nil {
		t.Errorf("nothing is in force yet: %v", err)
	}
	if err := f.EnableSecondFactor(t.Context(), admin.ID, factor.Secret, code(), password, home); err != nil {
		t.Fatal(err)
	}
	for _, fact := range []struct {
		name, password, code string
		reason               broker.Reason
	}{
		{"no code", password, "", broker.ReasonCodeRequired},
		{"wrong code", password, "123", broker.ReasonWrongCode},
		{"a wrong password tells nothing of the code", "wrong", "", broker.ReasonWrongPassword},
		{"the code that enabled it", password, code(), broker.ReasonWrongCode},
	} {
		_, err := f.Login(t.Context(), username, fact.password, fact.code, home)
		t.Run(fact.name, func(t *testing.T) { wantReason(t, err, fact.reason) })
	}
	f.pass(30 * time.Second)
	fresh := code()
	if _, err := f.Login(t.Context(), username, password, fresh, home); err != nil {
		t.Errorf("the right code: %v", err)
	}
	_, err = f.Login(t.Context(), username, password, fresh, home)
	wantReason(t, err, broker.ReasonWrongCode)
	if err := f.DisableSecondFactor(t.Context(), admin.ID, password, home); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), username, password, "", home); err != nil {
		t.Errorf("after it was taken away: %v", err)
	}
}

func TestANewPasswordFromOutsideTakesTheSecondFactorAway(t *testing.T) {
	f := open(t)
	username, _ := f.firstAdmin(t)
	f.change(t, username, func(admin *broker.Admin) { admin.TOTPSecret = "JBSWY3DPEHPK3PXP" })
	if err := f.SetPassword(t.Context(), username, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), username, "correct horse", "", home); err != nil {
		t.Error(err)
	}
}
