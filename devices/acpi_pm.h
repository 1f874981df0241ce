/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware: PM1, PM timer, reset register, GPE block 0. For those who raise its events. */
#pragma once
#include "hv/device.h"

/* Presses the power button: the guest sees PWRBTN_STS and an SCI. Any thread, not with the device's lock held. */
void acpi_pm_button(struct device *);
/* Whether the guest has enabled the button's event. Any thread, not with the device's lock held. */
bool acpi_pm_hears_button(struct device *);
/* Raises general purpose event n (0..15): its status bit, and an SCI when the guest enabled it. Any thread. */
void gpe_raise(struct device *, unsigned n);
