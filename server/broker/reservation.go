package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/google/uuid"
)

// reserveOrder writes VM, addresses, VMID, task and order. All or nothing: it runs inside one transaction.
func (b *Broker) reserveOrder(ctx context.Context, tx Tx, request OrderRequest, plan *orderPlan, fingerprint string, actor Actor) (*VM, *Task, error) {
	now := b.now().UTC()
	owner := uuid.New().String()
	vm := &VM{
		ClusterID: plan.cluster.ID, NodeID: plan.node.ID, Kind: plan.cluster.Kind,
		// Until the address is known the owner mark stands in for a name that was not ordered: it is unique, too.
		Name: firstOf(request.Hostname, owner), Owner: owner, Tenant: actor.APIKeyID,
		Status: VMCreating, StatusAt: now, Spec: plan.spec, ImageID: plan.image.ID,
		Username: firstOf(request.Username, defaultUsername(plan.spec.OSFamily)), Password: request.Password,
		ExpiresAt: request.ExpiresAt, CreatedAt: now,
	}
	if vm.ExpiresAt == nil && b.rules.DefaultLifetime > 0 {
		expires := now.Add(b.rules.DefaultLifetime)
		vm.ExpiresAt = &expires
	}
	var err error
	if vm.Password == "" {
		if vm.Password, err = randomPassword(12); err != nil {
			return nil, nil, err
		}
	}
	if vm.Spec.MAC, err = randomMAC(); err != nil {
		return nil, nil, err
	}
	if err := tx.InsertVM(ctx, vm); err != nil {
		return nil, nil, err
	}
	if err := reserveAddresses(ctx, tx, plan, vm); err != nil {
		return nil, nil, err
	}
	if request.Hostname == "" {
		vm.Name = strings.NewReplacer(".", "-", ":", "-").Replace(vm.Spec.Addresses[0].IP.StringExpanded())
		if vm.Spec.Addresses[0].IP.Is4() {
			vm.Name = strings.ReplaceAll(vm.Spec.Addresses[0].IP.String(), ".", "-")
		}
	}
	if vm.VMID, err = tx.ReserveVMID(ctx, plan.cluster.ID, vm.ID, now); err != nil {
		return nil, nil, err
	}
	task := &Task{
		Kind: CreateKind, VM: &vm.ID, IdempotencyKey: createKey(vm.ID),
		StorageKey: storageKey(plan.cluster.ID, plan.shared),
	}
	if err := b.queueTask(ctx, tx, task, vm, actor); err != nil {
		return nil, nil, err
	}
	if request.IdempotencyKey != "" {
		order := &Order{APIKeyID: actor.APIKeyID, Key: request.IdempotencyKey, RequestHash: fingerprint, VMID: vm.ID, CreatedAt: now}
		if err := tx.InsertOrder(ctx, order); err != nil {
			return nil, nil, err
		}
	}
	return vm, task, nil
}

func reserveAddresses(ctx context.Context, tx Tx, plan *orderPlan, vm *VM) error {
	var taken []Address
	for _, ip := range plan.named {
		address, err := tx.ReserveAddress(ctx, plan.node.ID, ip, vm.ID)
		if err != nil {
			return named("ipConfig", err)
		}
		taken = append(taken, *address)
	}
	for _, want := range []struct {
		version, count int
		reason         Reason
	}{{4, plan.ipv4, ReasonNoIPv4}, {6, plan.ipv6, ReasonNoIPv6}} {
		if want.count == 0 {
			continue
		}
		addresses, err := tx.ReserveAddresses(ctx, plan.node.ID, 0, want.version, want.count, vm.ID)
		if Is(err, Exhausted) {
			return Because(Exhausted, want.reason, want.count)
		}
		if err != nil {
			return err
		}
		taken = append(taken, addresses...)
	}
	for _, address := range taken {
		vm.Spec.Addresses = append(vm.Spec.Addresses, VMAddress{
			AddressID: address.ID, IP: address.IP, Prefix: address.Prefix, Gateway: address.Gateway,
		})
		if vm.Spec.Nameserver == "" {
			vm.Spec.Nameserver = strings.TrimSpace(address.DNS1 + " " + address.DNS2)
		}
	}
	return nil
}

// named gives an Error the field that the caller knows it by.
func named(field string, err error) error {
	var known *Error
	if !errors.As(err, &known) {
		return err
	}
	withField := *known
	withField.Field = field
	return &withField
}

// queueTask fills in what every task has, inserts it and marks the VM with it.
func (b *Broker) queueTask(ctx context.Context, tx Tx, task *Task, vm *VM, actor Actor) error {
	now := b.now().UTC()
	task.State, task.Tenant, task.RequestedBy, task.RequestID = TaskReady, actor.APIKeyID, actor.Name, actor.RequestID
	task.CreatedAt, task.UpdatedAt, task.RunAfter, task.Deadline = now, now, now, now.Add(b.queue.Deadline(task.Kind))
	task.VM, task.ClusterID, task.NodeID = &vm.ID, vm.ClusterID, vm.NodeID
	task.NodeKey = fmt.Sprintf("node:%d", vm.NodeID)
	if task.Data == nil {
		task.Data = json.RawMessage("{}")
	}
	if err := tx.InsertTask(ctx, task); err != nil {
		return err
	}
	vm.TaskID = &task.ID
	return tx.UpdateVM(ctx, vm)
}

func storageKey(cluster int64, storage string) string {
	if storage == "" {
		return ""
	}
	return fmt.Sprintf("storage:%d:%s", cluster, storage)
}

func defaultUsername(family string) string {
	if family == "windows" {
		return "administrator"
	}
	return "root"
}

func firstOf(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

const passwordAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"

// randomPassword makes a password without letters that look alike.
func randomPassword(length int) (string, error) {
	password := make([]byte, length)
	for i := range password {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(passwordAlphabet))))
		if err != nil {
			return "", Wrap(err, "make a password")
		}
		password[i] = passwordAlphabet[n.Int64()]
	}
	return string(password), nil
}

// randomMAC makes a locally administered unicast address (IEEE 802: second-lowest bit of the first octet set, lowest clear).
// 40 random bits and the store's unique constraint keep guests apart.
func randomMAC() (string, error) {
	var octets [5]byte
	if _, err := rand.Read(octets[:]); err != nil {
		return "", Wrap(err, "make a MAC address")
	}
	return fmt.Sprintf("02:%02X:%02X:%02X:%02X:%02X", octets[0], octets[1], octets[2], octets[3], octets[4]), nil
}
