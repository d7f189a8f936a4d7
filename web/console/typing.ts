import type RFB from '@novnc/novnc'

// X11 key symbols (keysymdef.h) and the matching KeyboardEvent.code.
const shiftKey = { keysym: 0xffe1, code: 'ShiftLeft' }
const returnKey = { keysym: 0xff0d, code: 'Enter' }
const tabKey = { keysym: 0xff09, code: 'Tab' }
export const backspaceKey = { keysym: 0xff08, code: 'Backspace' }

interface Key {
  keysym: number
  code: string | null
}

// A US keyboard: for each key its code and its characters without and with Shift.
const keys: [code: string, plain: string, shifted: string][] = [
  ['Backquote', '`', '~'], ['Minus', '-', '_'], ['Equal', '=', '+'], ['BracketLeft', '[', '{'], ['BracketRight', ']', '}'],
  ['Backslash', '\\', '|'], ['Semicolon', ';', ':'], ['Quote', "'", '"'], ['Comma', ',', '<'], ['Period', '.', '>'],
  ['Slash', '/', '?'], ['Space', ' ', ''],
  ...Array.from(')!@#$%^&*(', (shifted, digit): [string, string, string] => [`Digit${digit}`, String(digit), shifted]),
  ...Array.from('abcdefghijklmnopqrstuvwxyz', (letter): [string, string, string] => [`Key${letter.toUpperCase()}`, letter, letter.toUpperCase()]),
]

const plain = new Map(keys.map(([code, character]) => [character, code]))
const shifted = new Map(keys.filter(([, , character]) => character !== '').map(([code, , character]) => [character, code]))

export const maxTyped = 4096

// typeText presses the keys of a text one after the other, with a breath between them: a guest's console drops keys that come
// at once. Characters that a US keyboard lacks go by their key symbol alone, which only some guests understand.
export async function typeText(rfb: RFB, text: string): Promise<void> {
  for (const character of text.slice(0, maxTyped).replace(/\r\n?/g, '\n')) {
    const needsShift = shifted.has(character)
    if (needsShift) rfb.sendKey(shiftKey.keysym, shiftKey.code, true)
    press(rfb, keyOf(character))
    if (needsShift) rfb.sendKey(shiftKey.keysym, shiftKey.code, false)
    await new Promise((resolve) => setTimeout(resolve, 8))
  }
}

export function press(rfb: RFB, key: Key): void {
  rfb.sendKey(key.keysym, key.code)
}

function keyOf(character: string): Key {
  if (character === '\n') return returnKey
  if (character === '\t') return tabKey
  const point = character.codePointAt(0) ?? 0
  // Latin-1 characters are their own key symbol, all others have bit 24 set.
  const keysym = point < 0x100 ? point : 0x01000000 | point
  return { keysym, code: plain.get(character) ?? shifted.get(character) ?? null }
}
