/** Small helpers to build the interface without a framework. */

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean>;

/**
 * An element with attributes and children; `true` is an empty attribute, `false` none.
 * JupyterLab looks for `data-lm-suppress-shortcuts` from the focused element upwards, and stops at the first element
 * that matches a shortcut's selector. Its notebook shortcuts match any focused element (`:focus`), so that the
 * attribute has to be on each element that can have the focus: on the root alone, X would cut the cell.
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

/** Listens to an element; such a listener goes with it. */
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

/** A file input that buttons open by a click on it; keys and screen readers have those buttons. */
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
    // The same file can be chosen again.
    input.value = "";
  });
  return input;
}

/** Writes only what differs: most of the interface stays as it is from one frame to the next. */
export function set(target: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === true ? "" : String(value);
    if (value === false) target.removeAttribute(name);
    else if (target.getAttribute(name) !== text) target.setAttribute(name, text);
  }
}

/** Changes a text only if it differs: a live region would read out the same words again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Hides or shows only if that differs: the browser takes each time for a change, and looks at styles and layout anew. */
export function hide(target: HTMLElement, hidden: boolean): void {
  if (target.hidden !== hidden) target.hidden = hidden;
}

/** Changes a custom property only if it differs, for the same reason. */
export function setStyle(target: HTMLElement, name: string, value: string): void {
  if (target.style.getPropertyValue(name) !== value) target.style.setProperty(name, value);
}

/** Changes a control's value only if it differs: the browser takes each time for a change, and looks at the whole form. */
export function setValue(target: HTMLInputElement | HTMLSelectElement, value: string): void {
  if (target.value !== value) target.value = value;
}

export function press(target: Element, pressed: boolean): void {
  set(target, { "aria-pressed": String(pressed) });
}
