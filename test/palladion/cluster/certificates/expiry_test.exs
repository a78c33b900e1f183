defmodule Palladion.Cluster.Certificates.ExpiryTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates

  alias Palladion.Cluster.Certificates.Expiry
  alias Palladion.Config.TLS

  @day 86_400

  setup :tmp_dir

  # DER, made for so many days from now.
  defp certificate(dir, subject, days) do
    [key, file] =
      for name <- ["key", "der"], do: Path.join(dir, "#{System.unique_integer()}.#{name}")

    openssl!(
      ~w(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -outform DER -utf8 -days #{days}) ++
        ["-subj", subject, "-keyout", key, "-out", file]
    )

    File.read!(file)
  end

  defp tls(more), do: struct!(%TLS{cert_chain: [], cacerts: [], source: []}, more)

  test "the ends and the subjects are those of the certificates", %{tmp_dir: dir} do
    now = System.system_time(:second)

    # The last is after 2050, where dates are written otherwise.
    for {subject, shown, days} <- [
          {"/CN=client", "CN=client", 1},
          {"/O=Läden/OU=München", "OU=München,O=Läden", 365},
          {"/O=Shop", "O=Shop", 3_650},
          {"/C=DE", "C=DE", 3_650},
          {"/CN=#{String.duplicate("x", 64)}", "CN=#{String.duplicate("x", 64)}", 20_000}
        ] do
      der = certificate(dir, subject, days)
      assert [it] = Expiry.own(tls(cert_chain: [der]), now, fn -> [] end)
      assert %{certificate: :client, subject: ^shown, endpoint: nil} = it
      assert_in_delta it.not_after, now + days * @day, 3_600
    end
  end

  test "authorities count where they were configured, and not as the system's", %{tmp_dir: dir} do
    der = certificate(dir, "/CN=authority", 10)

    for {source, count} <- [
          {[cacertfile: "ca.pem"], 1},
          {[cacerts: [der]], 1},
          {[cacertfile: nil, cacerts: nil], 0},
          {[], 0}
        ] do
      own = Expiry.own(tls(cacerts: [der], source: source), 0, fn -> [] end)
      assert Enum.map(own, & &1.certificate) == List.duplicate(:authority, count)
    end
  end

  test "authorities of the system do not count in a file either", %{tmp_dir: dir} do
    [ours, public] = for subject <- ~w(/CN=ours /CN=public), do: certificate(dir, subject, 10)
    tls = tls(cacerts: [public, ours], source: [cacertfile: "all.pem"])
    assert [%{subject: "CN=ours"}] = Expiry.own(tls, 0, fn -> [public] end)
  end

  test "authorities that have expired before they were given do not count", %{tmp_dir: dir} do
    [long, short] = for days <- [20, 10], do: certificate(dir, "/CN=of #{days}", days)
    tls = tls(cacerts: [short, long], cert_chain: [short], source: [cacerts: [short, long]])
    at = System.system_time(:second) + 15 * @day

    assert [%{certificate: :client}, %{certificate: :authority, subject: "CN=of 20"}] =
             Expiry.own(tls, at, fn -> [] end)
  end

  test "what can't be read has no end" do
    assert Expiry.own(tls(cert_chain: ["nonsense", <<>>], cacerts: ["nonsense"]), 0) == []
  end

  test "they are due from so many days before their end" do
    at = 1_000 * @day

    for {now, due?} <- [
          {at - 30 * @day - 1, false},
          {at - 30 * @day, true},
          {at, true},
          {at + 90 * @day, true}
        ] do
      assert {due, told} = Expiry.due([Expiry.server("db1", at)], %{}, 30, now)
      assert due == if(due?, do: [Expiry.server("db1", at)], else: [])
      assert map_size(told) == length(due)
    end
  end

  test "at any order of times, none is told twice within a day, and none is kept waiting longer" do
    for seed <- 1..50 do
      :rand.seed(:exsss, {seed, seed, seed})
      certificates = for n <- 1..5, do: Expiry.server("db#{n}", :rand.uniform(100) * @day)
      times = Enum.scan(1..200, fn _, at -> at + :rand.uniform(@day) end)

      {_told, log} =
        Enum.reduce(times, {%{}, []}, fn now, {told, log} ->
          asked = Enum.take_random(certificates, :rand.uniform(5))
          {due, told} = Expiry.due(asked, told, 30, now)

          for it <- asked, it.not_after - now <= 30 * @day, it not in due do
            assert Enum.any?(log, fn {at, other} -> other == it and now - at < @day end),
                   "seed #{seed}"
          end

          # What is remembered is no more than what was told within a day.
          assert map_size(told) <= length(certificates)
          assert Enum.all?(told, fn {_key, at} -> now - at < @day end)
          {told, for(it <- due, do: {now, it}) ++ log}
        end)

      for {at, it} <- log, {other, ^it} <- log, other < at do
        assert at - other >= @day, "seed #{seed}"
      end
    end
  end

  test "the text says whose it is, when, and what to do" do
    at = 1_700_000_000
    server = Expiry.server("db1:9042", at)
    client = %{server | certificate: :client, subject: "CN=a\nb", endpoint: nil}
    authority = %{client | certificate: :authority, subject: "CN=ca"}

    for {it, now, text} <- [
          {server, at - 3 * @day, "the certificate of db1:9042 expires in 3 days, on 2023-11-14"},
          {server, at - 2 * @day + 1, "expires in 1 day, on 2023-11-14 22:13:20Z. Renew it"},
          {client, at - 60, ~S|our own certificate ("CN=a\nb") expires within a day, on|},
          {client, at + 1, "expired on 2023-11-14 22:13:20Z. Put a new one in its place"},
          {authority, at + 1, ~S|the trusted authority "CN=ca" expired on|}
        ] do
      assert Expiry.text(it, now) =~ text
      refute Expiry.text(it, now) =~ "\n"
    end
  end
end
