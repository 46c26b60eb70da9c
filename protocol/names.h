/* SPDX-License-Identifier: MIT */
#pragma once

/* Names and limits that broker, library and tests share. */

#define DAXBROKER_BUS_NAME "org.daxbroker1"
#define DAXBROKER_ROOT_PATH "/org/daxbroker1"
#define DAXBROKER_REGION_PATH DAXBROKER_ROOT_PATH "/region"
#define DAXBROKER_ALLOCATION_PATH DAXBROKER_ROOT_PATH "/allocation"
#define DAXBROKER_GRANT_PATH DAXBROKER_ROOT_PATH "/grant"

/* Where clients connect without a bus in between, and what the broker is called there. */
#define DAXBROKER_DIRECT_SOCKET "/run/daxbroker/bus"
#define DAXBROKER_DIRECT_NAME ":1.0"

#define DAXBROKER_MANAGER_INTERFACE "org.daxbroker1.Manager"
#define DAXBROKER_REGION_INTERFACE "org.daxbroker1.Region"
#define DAXBROKER_ALLOCATION_INTERFACE "org.daxbroker1.Allocation"
#define DAXBROKER_GRANT_INTERFACE "org.daxbroker1.Grant"

/* Bytes of an allocation's or region's name, the final NUL not counted. */
#define DAXBROKER_NAME_MAX 63

/* Bytes; the largest alignment a caller may ask for. */
#define DAXBROKER_ALIGNMENT_MAX (UINT64_C(1) << 30)

/* "No group": the value of the property Group when the mode's group bits apply to nobody. */
#define DAXBROKER_NO_GROUP UINT32_MAX
