defmodule Palladion.Config.PemTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Pem
  alias Palladion.Test.{Authority, Certificates}

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"

  setup :tmp_dir

  setup_all do
    %{chain: Certificates.chain(), rsa: Certificates.chain({:rsa, 2_048, 65_537})}
  end

  defp labels(content) do
    assert {:ok, blocks} = Pem.parse(content)
    Enum.map(blocks, & &1.label)
  end

  defp reason(content) do
    assert {:error, {reason, message}} = Pem.parse(content)
    assert is_binary(message)
    reason
  end

  test "takes a PEM file apart, whatever is around the blocks", %{chain: chain} do
    content =
      "Bag Attributes\r\n" <>
        Certificates.pem([chain.leaf, chain.intermediate]) <>
        "\n# a comment\n" <> Certificates.key_pem(chain.key)

    assert {:ok, [leaf, intermediate, key]} = Pem.parse(content)
    assert {leaf.label, leaf.der} == {"CERTIFICATE", chain.leaf}
    assert {intermediate.label, intermediate.der} == {"CERTIFICATE", chain.intermediate}
    assert {key.label, key.der} == {"EC PRIVATE KEY", elem(chain.key, 1)}
    {type, der} = chain.key
    assert :public_key.pem_decode(key.text) == [{type, der, :not_encrypted}]
  end

  test "takes Windows line ends", %{chain: chain} do
    content = String.replace(Certificates.pem(chain.root), "\n", "\r\n")
    assert {:ok, [%{der: der}]} = Pem.parse(content)
    assert der == chain.root
  end

  test "recognizes DER", %{chain: chain, rsa: rsa} do
    [{_, pkcs8, _}] = chain.key |> Certificates.key_pem(:pkcs8) |> :public_key.pem_decode()

    assert labels(chain.leaf) == ["CERTIFICATE"]
    assert labels(elem(chain.key, 1)) == ["EC PRIVATE KEY"]
    assert labels(elem(rsa.key, 1)) == ["RSA PRIVATE KEY"]
    assert labels(pkcs8) == ["PRIVATE KEY"]
  end

  test "a DER block is a PEM block as well", %{rsa: rsa} do
    {:ok, [%{text: text, der: der}]} = Pem.parse(elem(rsa.key, 1))
    assert [{:RSAPrivateKey, ^der, :not_encrypted}] = :public_key.pem_decode(text)
  end

  test "tells what it can't take", %{chain: chain} do
    assert reason("") == :empty_file
    assert reason(" \n") == :empty_file
    assert reason("not a certificate") == :unsupported_format
    assert reason(<<0, 1, 2, 3>>) == :unsupported_format
    assert reason(binary_part(chain.leaf, 0, 100)) == :unsupported_format
    assert reason(<<0xFEEDFEED::32, 2::32>>) == :unsupported_format
    assert reason("-----BEGIN CERTIFICATE-----\nMIIB") == :malformed
  end

  # A PFX: a sequence that starts with the version 3.
  @pfx <<0x30, 5, 2, 1, 3, 0x30, 0>>

  test "a PKCS#12 keystore is left as it is, where it is of use", %{tmp_dir: dir} do
    path = Certificates.write!(dir, "client.p12", @pfx)
    assert Pem.parse(@pfx) == {:pkcs12, @pfx}
    assert Pem.read_any(path) == {:pkcs12, @pfx}
    assert {:error, {:unsupported_format, text}} = Pem.read(path)
    assert text =~ "only certfile: takes"
    assert text =~ "openssl pkcs12"
  end

  test "a Java keystore is told what to make of it" do
    for magic <- [0xFEEDFEED, 0xCECECECE] do
      assert {:error, {:unsupported_format, text}} = Pem.parse(<<magic::32, 2::32>>)
      assert text =~ "-deststoretype PKCS12"
    end
  end

  @tag skip: @openssl
  test "recognizes revocation lists of both versions as DER", %{tmp_dir: dir} do
    for version <- [1, 2] do
      crl = Certificates.crl!(dir, version)
      assert labels(crl) == ["X509 CRL"]
      assert labels(Certificates.crl_pem(crl)) == ["X509 CRL"]

      list = :public_key.der_decode(:CertificateList, crl)
      assert list |> elem(1) |> elem(1) == if(version == 2, do: :v2, else: :asn1_NOVALUE)
    end
  end

  # Its number comes where a revocation list has its version.
  @tag skip: @openssl
  test "recognizes X.509 v1 certificates as DER", %{tmp_dir: dir} do
    {file, _key} = dir |> Authority.create!("ca") |> Authority.issue!("old", v1: true)
    [{:Certificate, der, _}] = file |> File.read!() |> :public_key.pem_decode()
    version = der |> :public_key.pkix_decode_cert(:plain) |> elem(1) |> elem(1)
    assert version in [0, :v1]
    assert labels(der) == ["CERTIFICATE"]
  end

  test "a block that is cut off is told, wherever it is", %{chain: chain} do
    whole = Certificates.pem(chain.root)
    short = binary_part(whole, 0, 100)
    headless = "-----BEGIN certificate-----\n"

    for {content, number} <- [
          {whole <> short, 2},
          {whole <> whole <> "-----BEGIN ", 3},
          {short <> "\n" <> whole, 1},
          {String.replace(whole, "END CERTIFICATE", "END X509 CRL") <> whole, 1},
          {whole <> headless <> whole, 2}
        ] do
      assert {:error, {:malformed, message}} = Pem.parse(content)
      assert message == "is cut off: block #{number}"
    end
  end

  test "blocks of any size are found", %{chain: chain} do
    long = :binary.copy(<<0x30>>, 12_000_000)
    content = Certificates.crl_pem(long) <> Certificates.pem(chain.root)
    assert {:ok, [%{label: "X509 CRL", der: ^long}, %{der: root}]} = Pem.parse(content)
    assert root == chain.root
  end

  test "an empty line is only the end of headers where there are any", %{chain: chain} do
    der = chain.root
    text = Base.encode64(der)
    label = fn body -> "-----BEGIN CERTIFICATE-----\n#{body}\n-----END CERTIFICATE-----\n" end

    for body <- [text <> "\n", "\n" <> text, "A: b\r\n\r\n" <> text, "A: b\n\n" <> text] do
      assert {:ok, [%{der: ^der}]} = Pem.parse(label.(body))
    end
  end

  test "what is no Base64 has no DER" do
    content = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
    assert {:ok, [%{label: "CERTIFICATE", der: nil}]} = Pem.parse(content)
  end

  test "a file that can't be read says why", %{tmp_dir: dir} do
    assert {:error, {:unreadable, text}} = Pem.read(Path.join(dir, "none.pem"))
    assert text =~ "no such file"
    assert {:error, {:unreadable, text}} = Pem.read(dir)
    assert text =~ "directory"
  end

  test "survives any bytes", %{chain: chain} do
    :rand.seed(:exsss, {1, 2, 3})

    for _ <- 1..500 do
      size = :rand.uniform(byte_size(chain.leaf))
      <<head::binary-size(size), _, tail::binary>> = chain.leaf <> "x"

      for content <- [head, tail, head <> <<:rand.uniform(255)>> <> tail] do
        assert elem(Pem.parse(content), 0) in [:ok, :pkcs12, :error]
      end
    end
  end
end
