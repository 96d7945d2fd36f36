#include "tools/metrics/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <utility>

#include "tools/mount_survey.h"
#include "tools/status/store_status.h"

namespace tandem::tools {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr int kAnswerMs = 5000;

// The families in the order in which they were first named.
class Families {
 public:
  void Gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
    ClientMetric metric;
    metric.label = labels;
    metric.gauge.value = value;
    Add(name, help, MetricType::Gauge, std::move(metric));
  }
  void Counter(const std::string& name, const std::string& help, const Labels& labels,
               double value) {
    ClientMetric metric;
    metric.label = labels;
    metric.counter.value = value;
    Add(name, help, MetricType::Counter, std::move(metric));
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void Add(const std::string& name, const std::string& help, MetricType type, ClientMetric metric) {
    const auto [known, is_new] = places_.try_emplace(name, families_.size());
    if (is_new) families_.push_back({name, help, type, {}});
    families_[known->second].metric.push_back(std::move(metric));
  }

  std::map<std::string, size_t> places_;
  std::vector<MetricFamily> families_;
};

double Number(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}

Labels With(Labels labels, const char* name, std::string value) {
  labels.push_back({name, std::move(value)});
  return labels;
}

void AddPending(const Json& pending, const Labels& labels, Families& families) {
  families.Gauge("tandemfs_pending_bytes", "Content that a replica lacks.", labels,
                 Number(pending, "bytes"));
  for (const char* kind : {"objects", "entries", "ranges"}) {
    families.Gauge("tandemfs_pending_changes", "Changes that a replica lacks, by kind.",
                   With(labels, "kind", kind), Number(pending, kind));
  }
}

void AddReplica(const Json& replica, const Labels& of_mount, Families& families) {
  const Labels labels = With(of_mount, "replica", replica.value("name", ""));
  families.Gauge("tandemfs_replica_lag_seconds", "Age of the oldest change not applied.", labels,
                 Number(replica, "lag_seconds"));
  families.Gauge("tandemfs_replica_worst_lag_seconds", "Largest lag in the last hour.", labels,
                 Number(replica, "worst_lag_hour"));
  const std::string state = replica.value("state", "");
  for (const char* known :
       {"connecting", "seeding", "reconciling", "current", "catching-up", "paused", "blocked"}) {
    families.Gauge("tandemfs_replica_state", "1 for the state that the replica is in.",
                   With(labels, "state", known), state == known ? 1 : 0);
  }
  families.Gauge("tandemfs_replica_applied_cut", "Number of the last cut applied.", labels,
                 Number(replica, "applied_cut"));
  families.Gauge("tandemfs_replica_durable_cut", "Number of the last cut that is durable.", labels,
                 Number(replica, "durable_cut"));
  for (const auto& [direction, key] :
       {std::pair("sent", "sent_bytes"), std::pair("received", "received_bytes")}) {
    families.Counter("tandemfs_replica_network_bytes_total", "Bytes to and from the replica.",
                     With(labels, "direction", direction), Number(replica, key));
  }
  const Json content = replica.value("content", Json::object());
  for (const char* kind : {"plain", "delta", "copied"}) {
    families.Counter("tandemfs_replica_content_bytes_total",
                     "Content that was carried, by how it travelled.", With(labels, "kind", kind),
                     Number(content, kind));
  }
  families.Counter("tandemfs_replica_compression_saved_bytes_total",
                   "Bytes that compression has saved.", labels, Number(content, "compressed"));
  AddPending(replica.value("pending", Json::object()), labels, families);
}

void AddMount(const Json& status, Families& families) {
  const Labels labels = {{"mountpoint", status.value("mountpoint", "")},
                         {"volume", status.value("volume", "")}};
  const bool is_live = status.value("mount", "") == "live";
  families.Gauge("tandemfs_up", "1 if the mount's tandemfs answers.", labels, is_live ? 1 : 0);
  if (!is_live) return;
  families.Gauge("tandemfs_epoch", "Number of the open epoch.", labels, Number(status, "epoch"));
  families.Gauge("tandemfs_synced_cut", "Newest cut that a sync of the source covers.", labels,
                 Number(status, "synced_cut"));
  families.Gauge("tandemfs_hot_objects", "Objects with marks that are not exact.", labels,
                 Number(status, "hot_objects"));
  for (const Json& replica : status.value("replicas", Json::array())) {
    AddReplica(replica, labels, families);
  }
}

void AddStore(const Json& status, Families& families) {
  const Labels labels = {{"store", status.value("store", "")}};
  families.Gauge("tandemd_store_free_bytes", "Free space of the store's disk.", labels,
                 Number(status, "free_bytes"));
  families.Gauge("tandemd_store_size_bytes", "Size of the store's disk.", labels,
                 Number(status, "total_bytes"));
  for (const Json& volume : status.value("volumes", Json::array())) {
    const Labels of_volume = With(With(labels, "account", volume.value("account", "")), "volume",
                                  volume.value("volume", ""));
    families.Gauge("tandemd_volume_applied_cut", "Number of the cut that the tree holds.",
                   of_volume, Number(volume, "epoch"));
    if (!volume.contains("cut_time")) continue;
    families.Gauge("tandemd_volume_cut_timestamp_seconds", "When that cut was taken.", of_volume,
                   Number(volume, "cut_time"));
  }
}

}  // namespace

std::string MetricsText(const std::vector<Json>& mounts, const std::vector<Json>& stores) {
  Families families;
  for (const Json& status : mounts) AddMount(status, families);
  for (const Json& status : stores) AddStore(status, families);
  return families.Text();
}

Result<std::string> CollectMetrics(const std::vector<std::string>& stores) {
  ASSIGN_OR_RETURN(const std::vector<SurveyedMount> surveyed, SurveyMounts());
  std::vector<Json> mounts;
  for (Result<Json>& status : AskStatuses(surveyed, kAnswerMs)) {
    if (status && !status->is_null()) mounts.push_back(std::move(*status));
  }
  std::vector<Json> read;
  for (const std::string& store : stores) {
    if (auto status = ReadStoreStatus(store)) read.push_back(std::move(*status));
  }
  return MetricsText(mounts, read);
}

}  // namespace tandem::tools
