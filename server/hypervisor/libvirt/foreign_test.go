package libvirt

import (
	"fmt"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"gantry/internal/libvirttest"
	"gantry/server/hypervisor"
)

// foreign defines a domain as virt-install does, with a volume that Gantry did not make.
func foreign(t *testing.T, d *driver) hypervisor.GuestRef {
	t.Helper()
	if _, err := d.version(t.Context()); err != nil {
		t.Fatal(err)
	}
	connection := d.client.current.rpc
	pool, err := connection.StoragePoolLookupByName(libvirttest.Pool)
	if err != nil {
		t.Fatal(err)
	}
	volume, err := connection.StorageVolCreateXML(pool, `<volume><name>shop-web.qcow2</name><capacity unit="bytes">1073741824</capacity>
		<target><format type="qcow2"/></target></volume>`, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.StorageVolDelete(volume, 0) }) // the test may have removed it
	path, err := connection.StorageVolGetPath(volume)
	if err != nil {
		t.Fatal(err)
	}
	identity := uuid.New()
	domain, err := connection.DomainDefineXML(fmt.Sprintf(`<domain type="qemu"><name>shop-web</name><uuid>%s</uuid>
		<metadata><shop:note xmlns:shop="urn:shop">web server</shop:note></metadata>
		<memory unit="MiB">128</memory><vcpu>1</vcpu><os><type arch="x86_64">hvm</type></os><devices>
		<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="%s"/><target dev="vda" bus="virtio"/></disk>
		<interface type="network"><mac address="52:54:00:77:00:01"/><source network="%s"/><model type="virtio"/></interface>
		</devices></domain>`, identity, path, libvirttest.Bridge))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.DomainUndefine(domain) }) // the test may have removed it
	return hypervisor.GuestRef{ID: foreignID(golibvirt.UUID(identity)), Node: node(t, d), Owner: identity.String()}
}
