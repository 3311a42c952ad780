/** Small helpers to build the interface without a framework. */

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean>;

/**
 * Makes an element with attributes and children. `true` stands for an empty attribute, `false` for none.
 * JupyterLab looks for `data-lm-suppress-shortcuts` from the focused element upwards, and stops at the first element
 * that matches a shortcut's selector. Its notebook shortcuts match any focused element (`:focus`). So the attribute
 * must be on each element that can have the focus. On the root alone, X would cut the cell.
 */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  set(made, attributes);
  if (["button", "input", "select", "summary"].includes(tag) || "tabindex" in attributes) {
    made.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  if (tag === "button") made.setAttribute("type", "button");
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Listens to an element. The listener disappears with the element. */
export function on<K extends keyof HTMLElementEventMap>(
  target: HTMLElement,
  type: K,
  listener: (event: HTMLElementEventMap[K]) => void,
  options?: AddEventListenerOptions,
): void {
  target.addEventListener(type, listener, options);
}

export function context2d(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  return canvas.getContext("2d") as CanvasRenderingContext2D;
}

/** A hidden file input that buttons open. Keys and screen readers use those buttons. */
export function filePicker(accept: string, chosen: (file: File) => void): HTMLInputElement {
  const input = element("input", {
    type: "file",
    accept,
    class: "gp-unseen",
    tabindex: -1,
    "aria-hidden": "true",
  });
  on(input, "change", () => {
    const file = input.files?.[0];
    if (file) chosen(file);
    // So that the same file can be chosen again.
    input.value = "";
  });
  return input;
}

/** Writes only differences, since most of the interface does not change from frame to frame. */
export function set(target: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === true ? "" : String(value);
    if (value === false) target.removeAttribute(name);
    else if (target.getAttribute(name) !== text) target.setAttribute(name, text);
  }
}

/** Changes a text only if it differs. Otherwise a live region would read the same words again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Hides or shows only if that differs, since the browser would compute styles and layout again each time. */
export function hide(target: HTMLElement, hidden: boolean): void {
  if (target.hidden !== hidden) target.hidden = hidden;
}

/** Changes a custom property only if it differs, for the same reason. */
export function setStyle(target: HTMLElement, name: string, value: string): void {
  if (target.style.getPropertyValue(name) !== value) target.style.setProperty(name, value);
}

/** Changes a control's value only if it differs, since the browser would check the whole form again each time. */
export function setValue(target: HTMLInputElement | HTMLSelectElement, value: string): void {
  if (target.value !== value) target.value = value;
}

export function press(target: Element, pressed: boolean): void {
  set(target, { "aria-pressed": String(pressed) });
}
