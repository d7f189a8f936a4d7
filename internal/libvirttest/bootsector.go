package libvirttest

// Ready is what BootSector's system says on the first serial port when it has come up.
const Ready = "ready\n"

// BootSector is a raw disk image of 1 MiB with the smallest system that answers the power button: it says Ready on the serial port,
// sleeps between the timer's interrupts, and turns the machine off when ACPI's power button was pressed. It comes up in a second where
// a Linux needs many under emulation. It is for x86 machines with a BIOS (SeaBIOS puts the power management registers at port 600h).
func BootSector() []byte {
	code := []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xfb,             // sti
		0xbe, 0x2d, 0x7c, // mov si, 7c2dh    ; the text below
		0xac,       // lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x06, // jz +6
		0xba, 0xf8, 0x03, // mov dx, 3f8h     ; COM1
		0xee,       // out dx, al
		0xeb, 0xf5, // jmp to lodsb
		0xba, 0x02, 0x06, // mov dx, 602h     ; PM1 enable
		0xb8, 0x00, 0x01, // mov ax, 100h     ; power button
		0xef,             // out dx, ax
		0xf4,             // hlt
		0xba, 0x00, 0x06, // mov dx, 600h     ; PM1 status
		0xed,             // in ax, dx
		0xf6, 0xc4, 0x01, // test ah, 1       ; power button
		0x74, 0xf6, // jz to hlt
		0xba, 0x04, 0x06, // mov dx, 604h     ; PM1 control
		0xb8, 0x00, 0x20, // mov ax, 2000h    ; sleep, type 0: off
		0xef,       // out dx, ax
		0xeb, 0xfe, // jmp to itself
	}
	image := make([]byte, 1<<20)
	copy(image[copy(image, code):], Ready)
	image[510], image[511] = 0x55, 0xaa
	return image
}
