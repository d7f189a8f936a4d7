// The fields of each SMBIOS table that QEMU can set (qemu(1), -smbios), as the server takes them.
export const smbiosFields: Record<number, readonly string[]> = {
  0: ['vendor', 'version', 'date', 'release'],
  1: ['manufacturer', 'product', 'version', 'serial', 'sku', 'family'],
  2: ['manufacturer', 'product', 'version', 'serial', 'asset', 'location'],
  3: ['manufacturer', 'version', 'serial', 'asset', 'sku'],
  4: ['sock_pfx', 'manufacturer', 'version', 'serial', 'asset', 'part'],
  17: ['loc_pfx', 'bank', 'manufacturer', 'serial', 'asset', 'part'],
}

export const smbiosTypes = Object.keys(smbiosFields).map(Number)
