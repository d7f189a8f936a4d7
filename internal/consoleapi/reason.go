package consoleapi

// Reason is a stable word for why a console did not open or ended. The proxy turns it into a websocket close code, the page
// into a sentence in the user's language.
type Reason string

// Reasons that the broker gives.
const (
	ReasonLinkInvalid   Reason = "link_invalid"   // no such token
	ReasonLinkExpired   Reason = "link_expired"   // not opened in time
	ReasonLinkUsed      Reason = "link_used"      // opened in another browser already
	ReasonWrongAddress  Reason = "wrong_address"  // the link is for another client address
	ReasonSessionOver   Reason = "session_over"   // its lifetime has passed
	ReasonEndedByAdmin  Reason = "ended_by_admin" // an operator, or the end of the service, closed it
	ReasonGuestOff      Reason = "guest_off"
	ReasonGuestGone     Reason = "guest_gone"
	ReasonGuestBusy     Reason = "guest_busy" // locked by a task such as a reinstall
	ReasonUnsupported   Reason = "unsupported"
	ReasonUnreachable   Reason = "node_unreachable"
	ReasonTargetRefused Reason = "target_refused" // the hypervisor refused our credential or ticket
	ReasonTargetFailed  Reason = "target_failed"  // the hypervisor tried and failed, or spoke no RFB
	ReasonTooMany       Reason = "too_many"       // a limit on open consoles was reached
	ReasonInternal      Reason = "internal"
)

// Reasons that only the proxy gives.
const (
	ReasonTargetClosed      Reason = "target_closed" // the hypervisor ended a running session: guest powered off, or connection lost
	ReasonIdle              Reason = "idle"
	ReasonStalled           Reason = "stalled"    // the browser stopped reading
	ReasonTakenOver         Reason = "taken_over" // the same browser opened the session in another tab
	ReasonShuttingDown      Reason = "shutting_down"
	ReasonBrokerUnreachable Reason = "broker_unreachable"
	ReasonProtocol          Reason = "protocol" // the browser broke the protocol
	ReasonWrongPassword     Reason = "wrong_password"
)

// known lists every reason with its close code and English text. Codes are of the range that RFC 6455 §7.4.2 leaves to
// applications, and are stable: the page and customers' own clients tell reasons apart by them.
var known = map[Reason]struct {
	code int
	text string
}{
	ReasonLinkInvalid:       {4001, "this console link is not valid"},
	ReasonLinkExpired:       {4002, "this console link has expired"},
	ReasonLinkUsed:          {4003, "this console link was already used in another browser"},
	ReasonWrongAddress:      {4004, "this console link was made for another network address"},
	ReasonSessionOver:       {4005, "the console session has reached its time limit"},
	ReasonEndedByAdmin:      {4006, "the console session was ended by the operator"},
	ReasonWrongPassword:     {4007, "the console's password is wrong"},
	ReasonGuestOff:          {4010, "the virtual machine is switched off"},
	ReasonGuestGone:         {4011, "the virtual machine does not exist any more"},
	ReasonGuestBusy:         {4012, "the virtual machine is busy with a task"},
	ReasonUnsupported:       {4013, "this virtual machine has no graphical console"},
	ReasonUnreachable:       {4014, "the node of the virtual machine can't be reached"},
	ReasonTargetRefused:     {4015, "the hypervisor refused the console ticket"},
	ReasonTargetFailed:      {4016, "the hypervisor could not open the console"},
	ReasonTargetClosed:      {4017, "the virtual machine's display was closed"},
	ReasonTooMany:           {4020, "too many consoles are open"},
	ReasonIdle:              {4021, "the console was idle for too long"},
	ReasonStalled:           {4022, "the browser stopped receiving data"},
	ReasonTakenOver:         {4023, "the console was opened in another window"},
	ReasonShuttingDown:      {4024, "the console proxy is restarting"},
	ReasonBrokerUnreachable: {4025, "the broker can't be reached"},
	ReasonProtocol:          {4026, "the browser sent something that is no VNC"},
	ReasonInternal:          {4099, "internal error"},
}

// Reasons lists all reasons, in no particular order.
func Reasons() []Reason {
	all := make([]Reason, 0, len(known))
	for reason := range known {
		all = append(all, reason)
	}
	return all
}

// CloseCode is the websocket close code of the reason; an unknown one has that of ReasonInternal.
func (r Reason) CloseCode() int {
	if row, found := known[r]; found {
		return row.code
	}
	return known[ReasonInternal].code
}

// Text is one plain English sentence part for people; an unknown reason reads as an internal error.
func (r Reason) Text() string {
	if row, found := known[r]; found {
		return row.text
	}
	return known[ReasonInternal].text
}

// Refusal is a known reason for not opening a console. It is the only typed error of the console path.
type Refusal struct {
	Reason Reason `json:"reason"`
	// Detail is plain text for people, e.g. the hypervisor's own words; may be empty. It never holds a secret or an address.
	Detail string `json:"detail,omitempty"`
	// Bound tells that the token now belongs to the request's FreshKey although no target could be had: the browser keeps the
	// key and may try again.
	Bound bool `json:"bound,omitempty"`
	// Err is the cause, for the log of the side that met it. It does not travel.
	Err error `json:"-"`
}

// Error is for logs.
func (r *Refusal) Error() string {
	text := string(r.Reason)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Refuse makes a Refusal without detail.
func Refuse(reason Reason) *Refusal { return &Refusal{Reason: reason} }
